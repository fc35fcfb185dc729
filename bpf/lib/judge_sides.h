/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who the two ends of a packet are. */
#ifndef CILIATE_JUDGE_SIDES_H
#define CILIATE_JUDGE_SIDES_H

#include "common.h"
#include "endpoint_maps.h"
#include "ipcache.h"
#include "verdict_structs.h"

/* Epoch first, then the rest of a local endpoint. Returns 0 or a negative DROP_*. */
static __always_inline int side_of_slot(struct side *side, __u32 slot)
{
	__u32 *epoch = bpf_map_lookup_elem(&MAP_EPOCHS, &slot);
	struct endpoint *endpoint;

	if (!epoch)
		return -DROP_EP_NOT_READY;
	side->slot = slot;
	side->epoch = *(volatile __u32 *)epoch;
	if (slot == 0)
		return 0;
	endpoint = endpoint_get(slot);
	if (!endpoint)
		return -DROP_EP_NOT_READY;
	side->identity = endpoint->identity;
	side->ifindex = endpoint->ifindex;
	side->id = endpoint->id;
	return endpoint->id == 0 || endpoint->flags & EP_LOCKED ? -DROP_EP_NOT_READY : 0;
}

/* Which endpoint has this address, and whether it is the node's own. The identity of others: side_identify.
 */
static __always_inline int side_of_address(struct side *side, const union address *address, bool v6)
{
	struct address_key key = {.family = v6 ? 6 : 4, .address = *address};
	struct address_entry *entry = bpf_map_lookup_elem(&MAP_ADDRESSES, &key);

	if (!entry)
		return side_of_slot(side, 0);
	side->host = entry->flags & ADDRESS_F_HOST ? 1 : 0;
	return side_of_slot(side, entry->slot);
}

/* Both ends of the packet, where neither is known from elsewhere. */
static __always_inline int sides_of_flow(struct judgement *judgement)
{
	const struct flow *flow = &judgement->flow;
	int result = side_of_address(&judgement->destination, &flow->destination, flow->v6);

	return result ? result : side_of_address(&judgement->source, &flow->source, flow->v6);
}

/*
 * Identity of a side that is no endpoint here. Whether the source is this node is known from where the packet
 * came from, never from its address: an address of ours on a packet from outside says nothing, it is the
 * world's.
 */
static __always_inline void side_identify(struct side *side, const union address *address, bool v6,
					  bool is_source)
{
	const struct ipcache_entry *entry;

	if (side->slot)
		return;
	if (side->host) {
		side->identity = IDENTITY_HOST;
		return;
	}
	entry = ipcache_lookup(address, v6);
	side->identity = entry ? entry->identity : IDENTITY_WORLD;
	side->held = entry && entry->flags & IPCACHE_F_HELD ? 1 : 0;
	if (side->identity == IDENTITY_HOST && is_source)
		side->identity = IDENTITY_WORLD;
	else if (side->identity == IDENTITY_HOST)
		side->host = 1;
}

#endif
