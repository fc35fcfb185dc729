/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where probes were seen last, and dropped: for those that get no answer. Written by programs, read by
 * health. */
#ifndef CILIATE_WAYPOINT_H
#define CILIATE_WAYPOINT_H

#include <linux/types.h>
#include <stdbool.h>
#include "probe_structs.h"

#define WAYPOINT_INGRESS 16    /* probe_ingress of a device; below it HOOK_* */
#define WAYPOINT_ECHO	 17    /* answered there */
#define WAYPOINT_ANSWER	 0x100 /* in `place`: an answer on its way back; else a request */

/* A path of a prober at a hook. */
struct waypoint_key {
	__be32 prober;
	__be32 path;
	__u32 place; /* HOOK_* or WAYPOINT_* | WAYPOINT_ANSWER */
};

struct waypoint {
	__u64 ns;		/* CLOCK_MONOTONIC, when the last one passed */
	__u32 sequence;		/* its number, host order */
	__u32 dropped_sequence; /* of the last one that our program dropped here; 0: none */
	__u32 drop_reason;	/* DROP_*, of that one */
	__u32 pad;
};

/* A probe at a place, or its drop when `reason` is not 0. */
static __always_inline void waypoint_note(void *map, const struct probe_cookie *cookie, __u32 place,
					  __u32 reason)
{
	struct waypoint_key key = {.prober = cookie->prober, .path = cookie->path, .place = place};
	struct waypoint fresh = {}, *point = bpf_map_lookup_elem(map, &key);
	__u32 sequence = bpf_ntohl(cookie->sequence);

	if (!point) {
		fresh.ns = bpf_ktime_get_ns();
		fresh.sequence = sequence;
		fresh.dropped_sequence = reason ? sequence : 0;
		fresh.drop_reason = reason;
		bpf_map_update_elem(map, &key, &fresh, BPF_ANY);
		return;
	}
	point->ns = bpf_ktime_get_ns();
	point->sequence = sequence;
	if (!reason)
		return;
	point->dropped_sequence = sequence;
	point->drop_reason = reason;
}

#endif
