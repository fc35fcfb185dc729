/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Health's own object: what stands on the devices that lead to other nodes, before the datapath's programs
 * and without need of them. `probe_egress` stamps our probes as they leave; `probe_ingress` takes their
 * answers, and answers the probes of known nodes. Of requests both note the handshake.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "lib/probe_handshake.h"
#include "lib/probe_maps.h"
#include "lib/probe_packet.h"
#include "lib/probe_respond.h"
#include "lib/probe_structs.h"
#include "lib/probe_time.h"
#include "lib/waypoint.h"

#define ECHO_REPLY_V4  0
#define ECHO_REPLY_V6  129
#define MARK_MASK      0xf00
#define EINVAL	       22
#define XMIT_CONGESTED 2 /* NET_XMIT_CN: another one may have been dropped */

/* The record of a path, or NULL. */
static __always_inline struct probe_path *record_at(__u32 path)
{
	__u32 block = path / PROBE_BLOCK, place = path % PROBE_BLOCK;
	void *records = bpf_map_lookup_elem(&probe_blocks, &block);

	return records ? bpf_map_lookup_elem(records, &place) : NULL;
}

/* The record that a cookie of ours names, or NULL. */
static __always_inline struct probe_path *record_get(const struct probe_cookie *cookie)
{
	__u32 zero = 0;
	const struct probe_config *config = bpf_map_lookup_elem(&probe_config, &zero);

	if (!config || !config->prober || bpf_ntohl(cookie->prober) != config->prober)
		return NULL;
	return record_at(bpf_ntohl(cookie->path));
}

#define LOOPBACK_IFINDEX 1

/*
 * Remembers how the kernel sends a path's probes: the next ones may begin here. Not what goes into a tunnel
 * or got a tag beside its bytes, nor by a device without Ethernet headers: there the addresses do not fit.
 */
static __always_inline void learn_way(struct __sk_buff *ctx, const struct probe_packet *packet,
				      struct probe_path *record, __u64 now_ns)
{
	struct probe_way *way = &record->way;
	bool v4 = packet->source.family == 4;
	const __u64 *wanted = (const __u64 *)record->address;
	struct bpf_tunnel_key tunnel;
	__u64 to[2] = {};
	__be16 protocol;

	way->ifindex = 0;
	/* What begins at the loopback has no route with it: the kernel drops our own address as forged. */
	if (ctx->ifindex == LOOPBACK_IFINDEX || packet->l4_bytes != PROBE_LEAST_BYTES || ctx->vlan_present ||
	    ctx->len != (v4 ? PROBE_HEAD_V4 : PROBE_HEAD_V6) + PROBE_LEAST_BYTES ||
	    bpf_skb_get_tunnel_key(ctx, &tunnel, sizeof(tunnel), 0) != -EINVAL)
		return;
	if ((v4 ? bpf_skb_load_bytes(ctx, 0, way->head, PROBE_HEAD_V4)
		: bpf_skb_load_bytes(ctx, 0, way->head, PROBE_HEAD_V6)) < 0)
		return;
	__builtin_memcpy(&protocol, way->head + 12, sizeof(protocol));
	if (v4)
		__builtin_memcpy(to, way->head + ETH_HLEN + 16, 4);
	else
		__builtin_memcpy(to, way->head + ETH_HLEN + 24, 16);
	if ((__force __u32)protocol != ctx->protocol || wanted[0] != to[0] || wanted[1] != to[1])
		return;
	way->learned = (__u32)(now_ns >> PROBE_WAY_SHIFT);
	way->ifindex = ctx->ifindex;
}

static __always_inline bool is_batch(struct __sk_buff *ctx)
{
	__be16 type;

	return ctx->mark & PROBE_BATCH_BIT &&
	       bpf_skb_load_bytes(ctx, ETH_HLEN - sizeof(type), &type, sizeof(type)) == 0 &&
	       type == bpf_htons(PROBE_BATCH_TYPE);
}

/*
 * Sends the probes that the prober has laid down, each as a clone of this frame: no socket, no route and no
 * neighbour is asked for, and the answers wait until all are out.
 */
static __always_inline int send_batch(struct __sk_buff *ctx)
{
	bool v4 = ctx->protocol == (__force __u32)bpf_htons(ETH_P_IP);
	__u32 family = v4 ? 0 : 1;
	struct probe_batch *batch = bpf_map_lookup_elem(&probe_batches, &family);

	ctx->mark = PROBE_MARK;
	for (__u32 i = 0; batch && i < PROBE_BATCH && i < batch->count; i++) {
		struct probe_frame *frame = &batch->frames[i];
		struct probe_path *record = record_at(frame->path);
		__u64 *sent_ns;
		long result;

		if (!record)
			continue;
		if ((v4 ? bpf_skb_store_bytes(ctx, 0, frame->bytes, PROBE_HEAD_V4 + PROBE_LEAST_BYTES, 0)
			: bpf_skb_store_bytes(ctx, 0, frame->bytes, PROBE_HEAD_V6 + PROBE_LEAST_BYTES, 0)) <
		    0)
			break;
		sent_ns = &record->sent_ns[frame->place & (PROBE_RING - 1)];
		/* Tells the clone, which passes here too, that it has its time. */
		ctx->cb[0] = PROBE_MAGIC;
		*sent_ns = bpf_ktime_get_ns();
		result = bpf_clone_redirect(ctx, ctx->ifindex, 0);
		if (result && result != XMIT_CONGESTED)
			*sent_ns = 0;
	}
	return TC_ACT_SHOT;
}

/* The time of a packet with our mark: of a probe, or of the SYN of a request. */
static __always_inline void stamp_departure(struct __sk_buff *ctx)
{
	struct probe_packet packet = {};
	struct probe_path *record;
	__u32 place;

	if (!parse_ip(ctx, &packet))
		return;
	if (packet.protocol == IPPROTO_TCP) {
		note_syn(ctx, &packet);
		return;
	}
	if (!parse_cookie(ctx, &packet))
		return;
	record = record_get(&packet.cookie);
	place = bpf_ntohl(packet.cookie.sequence) & (PROBE_RING - 1);
	if (!record || record->nonce[place] != packet.cookie.nonce)
		return;
	learn_way(ctx, &packet, record, bpf_ktime_get_ns());
	record->sent_ns[place] = bpf_ktime_get_ns();
	COUNT(stamped);
}

/* tcx egress of a device: the time at which our packets leave. */
SEC("tc")
int probe_egress(struct __sk_buff *ctx)
{
	if ((ctx->mark & MARK_MASK) != PROBE_MARK)
		return NEXT;
	if (is_batch(ctx))
		return send_batch(ctx);
	if (ctx->cb[0] == PROBE_MAGIC) {
		ctx->cb[0] = 0;
		COUNT(stamped);
		return NEXT;
	}
	stamp_departure(ctx);
	return NEXT;
}

static __always_inline bool same_address(const struct probe_path *record, const struct probe_address *address)
{
	const __u64 *x = (const __u64 *)record->address;
	const __u64 *y = (const __u64 *)address->bytes;

	return record->family == address->family && x[0] == y[0] && x[1] == y[1];
}

static __always_inline void note_round_trip(struct probe_path *record, __u64 rtt_ns)
{
	__u32 bucket = probe_bucket(rtt_ns);

	__sync_fetch_and_add(&record->rtt_sum_ns, rtt_ns);
	record->rtt_last_ns = rtt_ns;
	if (rtt_ns > record->rtt_max_ns)
		record->rtt_max_ns = rtt_ns;
	if (bucket < PROBE_BUCKETS)
		__sync_fetch_and_add(&record->histogram[bucket], 1);
}

/* What the responder tells of itself is believed as far as it can be true. */
static __always_inline void note_echo(struct probe_path *record, __u32 residence_ns, __u64 rtt_ns)
{
	__sync_fetch_and_add(&record->echoed, 1);
	if (residence_ns <= rtt_ns)
		__sync_fetch_and_add(&record->residence_sum_ns, residence_ns);
}

static __always_inline void note_answer(struct probe_path *record, const struct probe_packet *packet,
					__u64 now_ns)
{
	__u32 sequence = bpf_ntohl(packet->cookie.sequence);
	__u64 sent_ns = record->sent_ns[sequence & (PROBE_RING - 1)];

	record->answered_sequence[sequence & (PROBE_RING - 1)] = sequence;
	if (sent_ns && now_ns - sent_ns > record->timeout_us * 1000ull) {
		__sync_fetch_and_add(&record->late, 1);
		return;
	}
	__sync_fetch_and_add(&record->answered, 1);
	record->answered_last_ns = now_ns;
	record->hop_limit_last = packet->hop_limit;
	if (sent_ns)
		note_round_trip(record, now_ns - sent_ns);
	else
		__sync_fetch_and_add(&record->unstamped, 1);
	if (packet->cookie.flags & PROBE_ECHOED)
		note_echo(record, bpf_ntohl(packet->cookie.residence_ns), sent_ns ? now_ns - sent_ns : 0);
	if ((__s32)(sequence - record->sequence_last) < 0)
		__sync_fetch_and_add(&record->reordered, 1);
	else
		record->sequence_last = sequence;
}

/* Takes the first answer to a probe of ours; all others go up to the prober's thread, and to whoever asked.
 */
static __always_inline int take_answer(const struct __sk_buff *ctx, const struct probe_packet *packet)
{
	struct probe_path *record = record_get(&packet->cookie);
	__u32 place = bpf_ntohl(packet->cookie.sequence) & (PROBE_RING - 1);
	__u64 nonce = packet->cookie.nonce;

	if (!record)
		return NEXT;
	if (!nonce || !same_address(record, &packet->source) ||
	    record->answered_sequence[place] != ~bpf_ntohl(packet->cookie.sequence) || !sum_fits(packet) ||
	    __sync_val_compare_and_swap(&record->nonce[place], nonce, 0) != nonce) {
		COUNT(passed_up);
		return NEXT;
	}
	note_answer(record, packet, arrived_ns(ctx, record->sent_ns[place]));
	COUNT(consumed);
	return TC_ACT_SHOT;
}

/* A packet that may be for us. */
static __always_inline int take_arrival(struct __sk_buff *ctx)
{
	struct probe_packet packet = {};

	if (!parse_ip(ctx, &packet))
		return NEXT;
	if (packet.protocol == IPPROTO_TCP) {
		note_syn_ack(ctx, &packet);
		return NEXT;
	}
	if (!parse_cookie(ctx, &packet))
		return NEXT;
	if (packet.protocol == IPPROTO_UDP && packet.destination_port == bpf_htons(PROBE_PORT)) {
		int verdict = answer_probe(ctx, &packet, bpf_ktime_get_ns());

		if (verdict == TC_ACT_REDIRECT)
			return verdict;
		waypoint_note(&probe_waypoints, &packet.cookie, WAYPOINT_INGRESS, 0);
		return verdict;
	}
	if (packet.protocol == IPPROTO_UDP ||
	    packet.icmp_type == (packet.source.family == 4 ? ECHO_REPLY_V4 : ECHO_REPLY_V6))
		return packet.cookie.flags & PROBE_BY_THREAD ? NEXT : take_answer(ctx, &packet);
	waypoint_note(&probe_waypoints, &packet.cookie, WAYPOINT_INGRESS, 0);
	return NEXT;
}

/* tcx ingress of a device, before all others. */
SEC("tc")
int probe_ingress(struct __sk_buff *ctx)
{
	return is_others(ctx) ? NEXT : take_arrival(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
