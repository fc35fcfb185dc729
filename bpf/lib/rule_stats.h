/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many flows each rule decided. */
#ifndef CILIATE_RULE_STATS_H
#define CILIATE_RULE_STATS_H

#include "common.h"
#include "policy.h"

/* Of new flows: what a rule's entry said of them. */
struct rule_stats {
	__u64 allowed;
	__u64 denied;
	__u64 redirected;
};

/*
 * Rule id -> new flows that it decided. Slow paths add a rule with its first flow and count; the agent reads,
 * and takes out the rules that are no more. Ids are never given again. Room is taken at once: memory for all
 * CPUs cannot be had for sure where a packet is judged. Under id 0, which the agent adds, the flows of rules
 * that find no room.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, LIMIT_RULE_STATS);
	__type(key, __u32);
	__type(value, struct rule_stats);
} MAP_RULE_STATS SEC(".maps");

/* No rule has this id. */
static const __u32 uncounted_rules;

/* What a rule begins with; not on a stack, of which the slow path has none to spare. */
static const struct rule_stats no_rule_stats;

/* A new flow that rule `request->rule_id`, if any, decided: `verdict` as policy_check returns it. */
SUBPROGRAM int rule_stats_count(struct policy_request *request, int verdict)
{
	struct rule_stats *stats;

	if (!request || !request->rule_id)
		return 0;
	stats = bpf_map_lookup_elem(&MAP_RULE_STATS, &request->rule_id);
	if (!stats) {
		bpf_map_update_elem(&MAP_RULE_STATS, &request->rule_id, &no_rule_stats, BPF_NOEXIST);
		stats = bpf_map_lookup_elem(&MAP_RULE_STATS, &request->rule_id);
		if (!stats)
			stats = bpf_map_lookup_elem(&MAP_RULE_STATS, &uncounted_rules);
		if (!stats)
			return 0;
	}
	if (verdict < 0)
		stats->denied++;
	else if (verdict > 0)
		stats->redirected++;
	else
		stats->allowed++;
	return 0;
}

#endif
