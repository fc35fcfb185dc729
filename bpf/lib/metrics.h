/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters: per-CPU arrays only, so that a packet costs an increment. */
#ifndef CILIATE_METRICS_H
#define CILIATE_METRICS_H

#include "common.h"
#include "endpoint_maps.h"
#include "waypoint.h"

struct metrics_entry {
	__u64 packets;
	__u64 bytes;
};

/*
 * METRIC_* direction << 8 | reason -> count of drops. Written by programs, read by user space. What was
 * forwarded is the sum of the endpoints' counters: a packet pays for one count a side, not for two.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LIMIT_METRICS_ENTRIES);
	__type(key, __u32);
	__type(value, struct metrics_entry);
} MAP_METRICS SEC(".maps");

/* Path of a prober at a hook -> what was seen last of it. Filled by probes only, see waypoint.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LIMIT_WAYPOINTS);
	__type(key, struct waypoint_key);
	__type(value, struct waypoint);
} MAP_WAYPOINTS SEC(".maps");

/*
 * Notes an ICMP echo that is a probe of health. A function of its own, off the path of all other packets.
 * What the policy of the node drops is noted once more for prober 0, path 0: that it drops any, whoever sent
 * them.
 */
static __attribute__((noinline)) int probe_seen(struct __sk_buff *ctx, __u32 cookie_offset, __u32 place,
						__u32 reason)
{
	struct probe_cookie cookie;

	if (bpf_skb_load_bytes(ctx, cookie_offset, &cookie, sizeof(cookie)) < 0)
		return 0;
	if (cookie.magic != bpf_htonl(PROBE_MAGIC) || cookie.version != 1)
		return 0;
	if (!cookie.prober) /* nobody's number: it is forged, to pass for what is noted of anybody */
		return 0;
	waypoint_note(&MAP_WAYPOINTS, &cookie, place, reason);
	if (reason && place == HOOK_TO_HOST) {
		cookie.prober = 0;
		cookie.path = 0;
		cookie.sequence = 0; /* many write it at once: none must seem to have passed */
		waypoint_note(&MAP_WAYPOINTS, &cookie, place, reason);
	}
	return 0;
}

static __always_inline void metrics_count(__u32 direction, __u32 reason, __u32 bytes)
{
	__u32 index = (direction << 8) | (reason & 0xff);
	struct metrics_entry *entry = bpf_map_lookup_elem(&MAP_METRICS, &index);

	if (!entry)
		return;
	entry->packets++;
	entry->bytes += bytes;
}

static __always_inline void count_egress(__u32 slot, __u32 bytes)
{
	struct endpoint_counters *counters = bpf_map_lookup_elem(&MAP_ENDPOINT_COUNTERS, &slot);

	if (!counters)
		return;
	counters->egress_packets++;
	counters->egress_bytes += bytes;
}

static __always_inline void count_ingress(__u32 slot, __u32 bytes)
{
	struct endpoint_counters *counters = bpf_map_lookup_elem(&MAP_ENDPOINT_COUNTERS, &slot);

	if (!counters)
		return;
	counters->ingress_packets++;
	counters->ingress_bytes += bytes;
}

static __always_inline void count_drop(__u32 slot, __u32 direction, __u32 reason, __u32 bytes)
{
	struct endpoint_counters *counters = bpf_map_lookup_elem(&MAP_ENDPOINT_COUNTERS, &slot);

	metrics_count(direction == DIR_EGRESS ? METRIC_EGRESS : METRIC_INGRESS, reason, bytes);
	if (!counters || !slot)
		return;
	if (direction == DIR_EGRESS)
		counters->egress_drops++;
	else
		counters->ingress_drops++;
}

#endif
