/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Health's own object: what stands on the devices that lead to other nodes, before the datapath's programs
 * and without need of them. `probe_egress` stamps our probes as they leave; `probe_ingress` takes their
 * answers, and answers the probes of known nodes.
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
#include "lib/probe_packet.h"
#include "lib/probe_structs.h"
#include "lib/waypoint.h"

#define NEXT	       (-1) /* TCX_NEXT: the next program of the chain decides */
#define ECHO_REPLY_V4  0
#define ECHO_REPLY_V6  129
#define HOP_LIMIT      64
#define MARK_MASK      0xf00
#define SECOND_NS      1000000000ull
#define AGE_MAX_NS     10000000ull
#define EINVAL	       22
#define XMIT_CONGESTED 2 /* NET_XMIT_CN: another one may have been dropped */

struct probe_config {
	__u32 prober;		 /* ours, in answers to us; 0: none */
	__u32 echoes_per_second; /* that one address gets */
};

/* 0 -> numbers of this prober. Written by user space, read by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_config);
} probe_config SEC(".maps");

/* Index of a path within its block -> its record, see probe_structs.h. In the memory of user space too. */
struct probe_records {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROBE_BLOCK);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct probe_path));
};

/* Number of a block -> its records; empty while none of its paths was ever opened. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct probe_records);
} probe_blocks SEC(".maps");

/* 0: IPv4, 1: IPv6 -> the batch that leaves next. In the memory of user space, which writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct probe_batch);
} probe_batches SEC(".maps");

struct probe_peer {
	__u64 window_ns; /* when the present window began */
	__u64 echoes;	 /* in it */
	__u64 heard_ns;	 /* when a probe of it came last */
};

/* Address of a node -> how often it was answered lately. Written by user space; the programs count. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct probe_address);
	__type(value, struct probe_peer);
} probe_peers SEC(".maps");

/* Our own address -> 1: only what is for us is answered. Written by user space, read by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct probe_address);
	__type(value, __u32);
} probe_own SEC(".maps");

/* 0 -> what the programs saw. Written by them, read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_counters);
} probe_counters SEC(".maps");

/* Path of a prober here -> what was seen last of it, see waypoint.h. Written by the programs, read by user
 * space. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct waypoint_key);
	__type(value, struct waypoint);
} probe_waypoints SEC(".maps");

static __always_inline struct probe_counters *counters_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&probe_counters, &zero);
}

#define COUNT(field)                                                                                         \
	do {                                                                                                 \
		struct probe_counters *counters = counters_get();                                            \
		if (counters)                                                                                \
			counters->field++;                                                                   \
	} while (0)

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
	if (packet->l4_bytes != PROBE_LEAST_BYTES || ctx->vlan_present ||
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

/* tcx egress of a device: the time at which our probe leaves. */
SEC("tc")
int probe_egress(struct __sk_buff *ctx)
{
	struct probe_packet packet = {};
	struct probe_path *record;
	__u32 place;

	if ((ctx->mark & MARK_MASK) != PROBE_MARK)
		return NEXT;
	if (is_batch(ctx))
		return send_batch(ctx);
	if (ctx->cb[0] == PROBE_MAGIC) {
		ctx->cb[0] = 0;
		COUNT(stamped);
		return NEXT;
	}
	if (!parse_probe(ctx, &packet))
		return NEXT;
	record = record_get(&packet.cookie);
	place = bpf_ntohl(packet.cookie.sequence) & (PROBE_RING - 1);
	if (!record || record->nonce[place] != packet.cookie.nonce)
		return NEXT;
	learn_way(ctx, &packet, record, bpf_ktime_get_ns());
	record->sent_ns[place] = bpf_ktime_get_ns();
	COUNT(stamped);
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

/*
 * When the packet came to the host: it may have waited for others since. The kernel's stamp is of the wall
 * clock, and TAI is that by whole seconds. An age beyond all queues, or more than since the probe left, is of
 * a clock that was set meanwhile.
 */
static __always_inline __u64 arrived_ns(const struct __sk_buff *ctx, __u64 sent_ns)
{
	__u64 stamp_ns = ctx->tstamp, tai_ns, now_ns, age_ns;

	if (!stamp_ns)
		return bpf_ktime_get_ns();
	tai_ns = bpf_ktime_get_tai_ns();
	/* Second: an interrupt between the two makes the packet later, never earlier than it was. */
	now_ns = bpf_ktime_get_ns();
	age_ns = (tai_ns - stamp_ns) % SECOND_NS;
	return age_ns < AGE_MAX_NS && now_ns - age_ns >= sent_ns ? now_ns - age_ns : now_ns;
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

/* Whether a node may have one more echo. */
static __always_inline bool may_have_echo(const struct probe_packet *packet, __u64 now_ns)
{
	struct probe_peer *peer = bpf_map_lookup_elem(&probe_peers, &packet->source);
	__u32 zero = 0;
	const struct probe_config *config = bpf_map_lookup_elem(&probe_config, &zero);

	if (!peer || !config) {
		COUNT(refused_address);
		return false;
	}
	peer->heard_ns = now_ns;
	if (now_ns - peer->window_ns > SECOND_NS) {
		peer->window_ns = now_ns;
		peer->echoes = 0;
	}
	if (__sync_fetch_and_add(&peer->echoes, 1) < config->echoes_per_second)
		return true;
	COUNT(refused_rate);
	return false;
}

static __always_inline void swap_macs(struct ethhdr *ethernet)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, mac, ETH_ALEN);
}

/* A sum (RFC 1071) after two bytes of what it is over became others; all as they lie in the packet. */
static __always_inline __u16 sum_after(__u16 sum, __u16 before, __u16 after)
{
	__u32 rest = (__u16)~sum + (__u32)(__u16)~before + after;

	rest = (rest & 0xffff) + (rest >> 16);
	return (__u16) ~((rest & 0xffff) + (rest >> 16));
}

/* UDP header and cookie of the answer; addresses and ports change places, so that no sum changes by them. */
static __always_inline void answer_udp(struct probe_packet *packet, __u64 began_ns)
{
	__be16 port = packet->source_port;

	packet->source_port = packet->destination_port;
	packet->destination_port = port;
	packet->cookie.flags |= PROBE_ECHOED;
	packet->cookie.residence_ns = bpf_htonl((__u32)(bpf_ktime_get_ns() - began_ns));
}

/* The datagram's checksum, where it has one; the kernel knows of one that is still to be made. */
static __always_inline int replace_sum(struct __sk_buff *ctx, const struct probe_packet *packet,
				       const struct probe_cookie *asked)
{
	__u32 at = ETH_HLEN + packet->l4_offset + 6, before[2], after[2];

	if (!packet->udp_sum)
		return 0;
	__builtin_memcpy(&before[0], &asked->version, 4);
	__builtin_memcpy(&after[0], &packet->cookie.version, 4);
	before[1] = (__force __u32)asked->residence_ns;
	after[1] = (__force __u32)packet->cookie.residence_ns;
	if (bpf_l4_csum_replace(ctx, at, before[0], after[0], BPF_F_MARK_MANGLED_0 | 4) < 0)
		return -1;
	return bpf_l4_csum_replace(ctx, at, before[1], after[1], BPF_F_MARK_MANGLED_0 | 4);
}

/* Turned round in one piece: each call into the kernel costs more than the copy. */
static __always_inline int answer_v4(struct __sk_buff *ctx, const struct probe_packet *packet)
{
	struct {
		struct ethhdr ethernet;
		struct iphdr ip;
		__u32 words[SUMMED_WORDS];
	} __attribute__((packed)) frame;
	__be16 before, after = bpf_htons(HOP_LIMIT << 8 | IPPROTO_UDP);

	if (bpf_skb_load_bytes(ctx, 0, &frame, ETH_HLEN + sizeof(frame.ip)) < 0)
		return -1;
	swap_macs(&frame.ethernet);
	before = bpf_htons((__u16)(frame.ip.ttl << 8 | IPPROTO_UDP));
	frame.ip.ttl = HOP_LIMIT;
	frame.ip.check = sum_after(frame.ip.check, (__force __u16)before, (__force __u16)after);
	__builtin_memcpy(&frame.ip.saddr, packet->destination.bytes, 4);
	__builtin_memcpy(&frame.ip.daddr, packet->source.bytes, 4);
	__builtin_memcpy(frame.words, packet->words, sizeof(frame.words));
	return bpf_skb_store_bytes(ctx, 0, &frame, sizeof(frame), 0);
}

static __always_inline int answer_v6(struct __sk_buff *ctx, const struct probe_packet *packet)
{
	struct {
		struct ethhdr ethernet;
		struct ipv6hdr ip;
		__u32 words[SUMMED_WORDS];
	} __attribute__((packed)) frame;

	if (bpf_skb_load_bytes(ctx, 0, &frame, ETH_HLEN + sizeof(frame.ip)) < 0)
		return -1;
	swap_macs(&frame.ethernet);
	frame.ip.hop_limit = HOP_LIMIT;
	__builtin_memcpy(&frame.ip.saddr, packet->destination.bytes, 16);
	__builtin_memcpy(&frame.ip.daddr, packet->source.bytes, 16);
	__builtin_memcpy(frame.words, packet->words, sizeof(frame.words));
	return bpf_skb_store_bytes(ctx, 0, &frame, sizeof(frame), 0);
}

/*
 * A probe that asks for an echo: back the way it came, never larger, and only to nodes. By a device without
 * Ethernet headers its length does not fit, and the stack says that the port is closed.
 */
static __always_inline int answer_probe(struct __sk_buff *ctx, struct probe_packet *packet, __u64 now_ns)
{
	struct probe_cookie asked = packet->cookie;

	if (!bpf_map_lookup_elem(&probe_own, &packet->destination))
		return NEXT;
	if ((packet->cookie.flags & ~PROBE_BY_THREAD) != PROBE_WANTS_ECHO ||
	    bpf_ntohs(packet->udp_bytes) != packet->l4_bytes ||
	    ctx->len != ETH_HLEN + packet->l4_offset + packet->l4_bytes) {
		COUNT(refused_form);
		return NEXT;
	}
	if (!may_have_echo(packet, now_ns))
		return NEXT;
	answer_udp(packet, now_ns);
	if ((packet->source.family == 4 ? answer_v4(ctx, packet) : answer_v6(ctx, packet)) < 0 ||
	    replace_sum(ctx, packet, &asked) < 0)
		return TC_ACT_SHOT;
	COUNT(echoed);
	/* That it came in is in it: a look-up less. */
	waypoint_note(&probe_waypoints, &packet->cookie, WAYPOINT_ECHO | WAYPOINT_ANSWER, 0);
	return bpf_redirect(ctx->ifindex, 0);
}

/* tcx ingress of a device, before all others. */
SEC("tc")
int probe_ingress(struct __sk_buff *ctx)
{
	struct probe_packet packet = {};

	if (!parse_probe(ctx, &packet))
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

char LICENSE[] SEC("license") = "Dual BSD/GPL";
