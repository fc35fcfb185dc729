/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The policy of an endpoint: what its map says of a peer, protocol and port. */
#ifndef CILIATE_POLICY_H
#define CILIATE_POLICY_H

#include "common.h"
#include "endpoint_maps.h"

struct policy_key {
	__u32 prefix_bits; /* LIMIT_POLICY_STATIC_BITS + 0, 8, or 8 + bits of the port */
	__u32 identity;	   /* of the peer; 0 matches every peer */
	__u8 direction;	   /* DIR_* */
	__u8 protocol;
	__be16 port; /* destination; of ICMP the type */
};

struct policy_entry {
	__u32 precedence; /* the greater of both matches wins */
	__be16 proxy_port;
	__u8 flags;   /* POLICY_F_* */
	__u8 l4_bits; /* prefix bits beyond the static ones */
	__u32 rule_id;
};

/* Shape of one policy map. */
struct policy_inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, LIMIT_POLICY_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
};

/*
 * Index -> policy map. The records of endpoints say which is in force for them; endpoints of one policy share
 * it. User space writes a change to a map that nobody is judged by, and then switches the records. It stores
 * an inner map once for each index and edits it in place: replacing one waits 12 ms for RCU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, LIMIT_POLICY_MAPS);
	__type(key, __u32);
	__array(values, struct policy_inner);
} MAP_POLICY SEC(".maps");

struct policy_stats_key {
	__u16 slot;
	__u8 direction;
	__u8 l4_bits;
	__u32 identity;
	__u8 protocol;
	__u8 pad;
	__be16 port;
};

struct policy_stats {
	__u64 packets;
	__u64 bytes;
};

/* Policy entry -> packets that it decided: one a new flow, not those that followed. Written by slow paths. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct policy_stats_key);
	__type(value, struct policy_stats);
} MAP_POLICY_STATS SEC(".maps");

struct policy_request {
	__u32 slot;
	__u32 identity; /* of the peer */
	__u32 bytes;
	__be16 port;
	__u8 protocol;
	__u8 direction;
	/* answers */
	__u32 rule_id;
	__be16 proxy_port;
	__u8 match;
	__u8 pad;
};

static __always_inline __u8 policy_match_kind(const struct policy_entry *entry, bool any_peer)
{
	if (entry->l4_bits == 0)
		return any_peer ? MATCH_ALL : MATCH_L3_ONLY;
	if (entry->l4_bits == 8)
		return any_peer ? MATCH_PROTO_ONLY : MATCH_L3_PROTO;
	return any_peer ? MATCH_L4_ONLY : MATCH_L3_L4;
}

static __always_inline void policy_count(const struct policy_request *request,
					 const struct policy_entry *entry, bool any_peer)
{
	__u32 port_bits = entry->l4_bits > 8 ? entry->l4_bits - 8 : 0;
	__u16 port_mask = port_bits >= 16 ? 0xffff : (__u16)(0xffff << (16 - port_bits));
	struct policy_stats_key key = {
		.slot = (__u16)request->slot,
		.direction = request->direction,
		.l4_bits = entry->l4_bits,
		.identity = any_peer ? 0 : request->identity,
		.protocol = entry->l4_bits >= 8 ? request->protocol : 0,
		.port = request->port & bpf_htons(port_mask),
	};
	struct policy_stats *stats = bpf_map_lookup_elem(&MAP_POLICY_STATS, &key);
	struct policy_stats first = {.packets = 1, .bytes = request->bytes};

	if (stats) {
		stats->packets++;
		stats->bytes += request->bytes;
		return;
	}
	bpf_map_update_elem(&MAP_POLICY_STATS, &key, &first, BPF_ANY);
}

/*
 * Steps: 1. longest match for the peer, 2. longest match for every peer, 3. greater precedence wins, then the
 * longer match, then the peer's own, 4. without a match the endpoint's enforcement of this direction decides.
 *
 * Returns 0, the proxy's port (host order) when the flow has to pass it, or a negative DROP_*.
 */
SUBPROGRAM int policy_check(struct policy_request *request)
{
	struct policy_key key = {.prefix_bits = LIMIT_POLICY_STATIC_BITS + 24};
	struct policy_entry *own = NULL, *any, *chosen;
	union endpoint_head head = {};
	struct endpoint *endpoint;
	bool any_peer = false;
	__u32 slot, index;
	__u8 enforced;
	void *map;

	if (!request)
		return -DROP_EP_NOT_READY;
	slot = request->slot;
	key.identity = request->identity;
	key.direction = request->direction;
	key.protocol = request->protocol;
	key.port = request->port;
	endpoint = endpoint_get(slot);

	request->match = MATCH_NONE;
	request->rule_id = 0;
	request->proxy_port = 0;
	if (endpoint)
		head = endpoint_head(endpoint);
	if (!head.id || head.flags & EP_LOCKED)
		return -DROP_EP_NOT_READY;
	index = head.flags & EP_POLICY_B ? head.policy[1] : head.policy[0];
	map = bpf_map_lookup_elem(&MAP_POLICY, &index);
	if (!map)
		return -DROP_EP_NOT_READY;
	if (key.identity)
		own = bpf_map_lookup_elem(map, &key);
	key.identity = 0;
	any = bpf_map_lookup_elem(map, &key);
	chosen = own;
	if (any) {
		if (!own) {
			chosen = any;
			any_peer = true;
		} else if (any->precedence > own->precedence ||
			   (any->precedence == own->precedence && any->l4_bits > own->l4_bits)) {
			chosen = any;
			any_peer = true;
		}
	}
	if (!chosen) {
		enforced = request->direction == DIR_EGRESS ? EP_ENFORCE_EGRESS : EP_ENFORCE_INGRESS;
		return head.flags & enforced ? -DROP_POLICY : 0;
	}
	request->match = policy_match_kind(chosen, any_peer);
	request->rule_id = chosen->rule_id;
	policy_count(request, chosen, any_peer);
	if (chosen->flags & POLICY_F_DENY)
		return -DROP_POLICY_DENY;
	if (!(chosen->flags & POLICY_F_REDIRECT))
		return 0;
	request->proxy_port = chosen->proxy_port;
	/* Nobody listens at port 0. */
	return request->proxy_port ? bpf_ntohs(request->proxy_port) : -DROP_PROXY_LOOKUP_FAILED;
}

#endif
