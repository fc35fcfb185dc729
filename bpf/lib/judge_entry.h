/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keeping a verdict with its flow, and whether a kept one is that of a packet. */
#ifndef CILIATE_JUDGE_ENTRY_H
#define CILIATE_JUDGE_ENTRY_H

#include "common.h"
#include "config_maps.h"
#include "conntrack.h"
#include "endpoint_maps.h"
#include "verdict_structs.h"

static __always_inline void ct_fill_side(struct ct_entry *entry, __u32 index, const struct side *side)
{
	struct endpoint *endpoint = side->slot ? endpoint_get(side->slot) : NULL;

	/* Constant indices: the verifier dislikes variable ones into the stack. */
	if (index == 0) {
		entry->epoch[0] = side->epoch;
		entry->slot[0] = (__u16)side->slot;
		entry->ifindex[0] = side->ifindex;
		entry->identity[0] = side->identity;
		if (endpoint)
			__builtin_memcpy(entry->mac[0], endpoint->mac, 6);
	} else {
		entry->epoch[1] = side->epoch;
		entry->slot[1] = (__u16)side->slot;
		entry->ifindex[1] = side->ifindex;
		entry->identity[1] = side->identity;
		if (endpoint)
			__builtin_memcpy(entry->mac[1], endpoint->mac, 6);
	}
}

/* Writes the entry whole: a reader on another CPU sees the old verdict or the new one. */
SUBPROGRAM int ct_store(struct judgement *judgement, __u16 flags, __u32 tcp_flags)
{
	struct config *config = config_get();
	struct ct_entry entry = {};
	__u32 side;

	if (!config || !judgement)
		return -DROP_CT_CREATE_FAILED;
	side = judgement->tuple.side;
	flags &= (__u16)~CTF_HOST;
	if (judgement->source.host || judgement->destination.host)
		flags |= CTF_HOST;
	entry.flags = ct_advance(flags, &judgement->flow, side, judgement->from_proxy);
	judgement->flags = entry.flags;
	entry.proxy_port = judgement->proxy_port;
	entry.reverse_nat = entry.flags & CTF_NAT ? judgement->service : 0;
	entry.seen = ct_now();
	entry.lifetime = ct_lifetime(judgement->flow.protocol, entry.flags, config);
	entry.tcp_flags[0] = (__u8)tcp_flags;
	entry.tcp_flags[1] = (__u8)(tcp_flags >> 8);
	if (side)
		entry.tcp_flags[1] |= judgement->flow.tcp_flags;
	else
		entry.tcp_flags[0] |= judgement->flow.tcp_flags;
	if (side) {
		ct_fill_side(&entry, 1, &judgement->source);
		ct_fill_side(&entry, 0, &judgement->destination);
	} else {
		ct_fill_side(&entry, 0, &judgement->source);
		ct_fill_side(&entry, 1, &judgement->destination);
	}
	if (ct_update(&judgement->tuple, &entry))
		return -DROP_CT_CREATE_FAILED;
	if (judgement->renamed)
		flow_cache_void();
	return 0;
}

/*
 * Whether the endpoints that the entry was made between are still those of its addresses. If not, somebody
 * else had the address then, and what it opened is nothing that this packet could answer.
 */
static __always_inline bool ct_same_endpoints(const struct ct_entry *entry, const struct judgement *judgement)
{
	__u32 side = judgement->tuple.side;
	const struct side *a = side ? &judgement->destination : &judgement->source;
	const struct side *b = side ? &judgement->source : &judgement->destination;

	return entry->slot[0] == a->slot && entry->slot[1] == b->slot && entry->ifindex[0] == a->ifindex &&
	       entry->ifindex[1] == b->ifindex;
}

/* Whether the node is an end of the flow now if, and only if, it was one when the entry was made. */
static __always_inline bool ct_binds(const struct ct_entry *entry, const struct judgement *judgement)
{
	bool host = judgement->source.host || judgement->destination.host;

	return host == !!(entry->flags & CTF_HOST);
}

static __always_inline void ct_touch(struct ct_entry *entry, struct judgement *judgement)
{
	struct config *config = config_get();
	__u16 flags =
		ct_advance(entry->flags, &judgement->flow, judgement->tuple.side, judgement->from_proxy);

	if (judgement->tuple.side)
		entry->tcp_flags[1] |= judgement->flow.tcp_flags;
	else
		entry->tcp_flags[0] |= judgement->flow.tcp_flags;
	entry->flags = flags;
	judgement->flags = flags;
	entry->seen = ct_now();
	if (config)
		entry->lifetime = ct_lifetime(judgement->flow.protocol, flags, config);
}

/* Whether this SYN opens the flow anew, instead of belonging to it. */
static __always_inline bool ct_reopens(const struct ct_entry *entry, const struct flow *flow, bool reply)
{
	if (flow->protocol != IPPROTO_TCP || !tcp_pure_syn(flow->tcp_flags))
		return false;
	if (entry->flags & CTF_CLOSING)
		return true;
	/* Simultaneous open is a SYN of each side before either was answered; not through a proxy. */
	return reply && entry->flags & (CTF_SEEN_REPLY | CTF_PROXY);
}

#endif
