/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which service a packet is for, and which of its backends its flow has or gets. */
#ifndef CILIATE_SERVICE_CHOICE_H
#define CILIATE_SERVICE_CHOICE_H

#include "common.h"
#include "config_maps.h"
#include "conntrack.h"
#include "flow_cache.h"
#include "ipcache.h"
#include "judge_policies.h"
#include "service_maps.h"

#define NS_PER_SECOND 1000000000ULL

static __always_inline bool service_protocol(const struct flow *flow)
{
	return flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP ||
	       flow->protocol == IPPROTO_SCTP;
}

static __always_inline void service_key_fill(struct service_key *key, const struct flow *flow)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->address = flow->destination;
	key->port = flow->destination_port;
	key->protocol = flow->protocol;
	key->family = flow->v6 ? 6 : 4;
}

/* Whether an address is this node's or another's. */
static __always_inline bool service_at_node(const union address *address, bool v6)
{
	struct address_key key = {.family = v6 ? 6 : 4, .address = *address};
	struct address_entry *own = bpf_map_lookup_elem(&MAP_ADDRESSES, &key);
	const struct ipcache_entry *known;

	if (own)
		return own->flags & ADDRESS_F_HOST;
	known = ipcache_lookup(address, v6);
	return known && (known->identity == IDENTITY_HOST || is_node(known->identity));
}

/* The frontend that a packet goes to, and its key; NULL: none. */
static __always_inline struct service_entry *service_find(struct service_key *key, const struct flow *flow)
{
	struct service_entry *found;

	service_key_fill(key, flow);
	found = bpf_map_lookup_elem(&MAP_SERVICES, key);
	if (found)
		return found;
	__builtin_memset(&key->address, 0, sizeof(key->address));
	found = bpf_map_lookup_elem(&MAP_SERVICES, key);
	return found && service_at_node(&flow->destination, flow->v6) ? found : NULL;
}

static __always_inline void service_tuple_fill(struct service_tuple *tuple, const struct flow *flow)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->source = flow->source;
	tuple->destination = flow->destination;
	tuple->source_port = flow->source_port;
	tuple->destination_port = flow->destination_port;
	tuple->protocol = flow->protocol;
	tuple->family = flow->v6 ? 6 : 4;
}

/* The same from the other end. */
static __always_inline void service_tuple_turn(struct service_tuple *tuple, const struct flow *flow)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->source = flow->destination;
	tuple->destination = flow->source;
	tuple->source_port = flow->destination_port;
	tuple->destination_port = flow->source_port;
	tuple->protocol = flow->protocol;
	tuple->family = flow->v6 ? 6 : 4;
}

/* The backend that the flow has, if it still may; 0: none. No backend has id 0. */
static __always_inline __u32 service_kept(const struct service_tuple *tuple,
					  const struct service_entry *service, const struct flow *flow)
{
	struct service_flow *kept = bpf_map_lookup_elem(&MAP_SERVICE_FLOWS, tuple);
	struct config *config = config_get();
	struct backend_entry *backend;
	__u32 id, now = ct_now();

	if (!kept || !config || kept->service != service->id)
		return 0;
	/* A new connection goes where its client is now, whatever its port had before. */
	if (service->affinity && tcp_pure_syn(flow->tcp_flags))
		return 0;
	if ((__s32)(now - kept->seen) > (__s32)kept->lifetime)
		return 0;
	id = kept->backend;
	backend = bpf_map_lookup_elem(&MAP_BACKENDS, &id);
	if (!backend)
		return 0;
	if (backend->state != BACKEND_ACTIVE &&
	    (backend->state != BACKEND_TERMINATING || tcp_pure_syn(flow->tcp_flags)))
		return 0;
	kept->seen = now;
	if (flow->protocol == IPPROTO_TCP && !(flow->tcp_flags & TCP_SYN))
		kept->lifetime = config->lifetime_tcp;
	return id;
}

/* The backend that the client had last, if the service wants that and it still takes flows; 0: none. */
static __always_inline __u32 service_affine(const struct affinity_key *client, __u32 seconds)
{
	struct affinity_entry *last = bpf_map_lookup_elem(&MAP_SERVICE_AFFINITY, client);
	struct backend_entry *backend;
	__u32 id;

	if (!last || bpf_ktime_get_ns() - last->used_ns >= seconds * NS_PER_SECOND)
		return 0;
	id = last->backend;
	backend = bpf_map_lookup_elem(&MAP_BACKENDS, &id);
	return backend && backend->state == BACKEND_ACTIVE ? id : 0;
}

/* A number below `count` that depends on all of the tuple. */
static __always_inline __u32 service_pick(const struct service_tuple *tuple, __u16 count)
{
	__u64 ports = (__u64)be16_bits(tuple->source_port) << 32 |
		      (__u64)be16_bits(tuple->destination_port) << 16 | tuple->protocol;
	__u64 hash = (tuple->source.half[0] ^ tuple->source.half[1]) * FLOW_CACHE_FACTOR;

	hash = (hash ^ hash >> 32 ^ tuple->destination.half[0] ^ tuple->destination.half[1]) *
	       FLOW_CACHE_FACTOR;
	hash = (hash ^ hash >> 32 ^ ports) * FLOW_CACHE_FACTOR;
	hash = (hash ^ hash >> 32) * FLOW_CACHE_FACTOR;
	return (__u32)((hash >> 32) * count >> 32);
}

/*
 * Whether another flow of the client's lives between the same addresses and ports: one to the backend itself,
 * or by another service. Nobody could tell their answers apart.
 */
SUBPROGRAM int service_taken(const struct service_tuple *client, __u32 backend_id, __u32 service)
{
	struct backend_entry *backend = bpf_map_lookup_elem(&MAP_BACKENDS, &backend_id);
	struct ct_tuple tuple = {};
	struct ct_entry *entry;

	if (!client || !backend)
		return 0;
	tuple.is_v6 = client->family == 6;
	if (tuple.is_v6)
		tuple.side = ct6_key_fill(&tuple.v6, &client->source, &backend->address, client->source_port,
					  backend->port, client->protocol);
	else
		tuple.side = ct4_key_fill(&tuple.v4, client->source.word[0], backend->address.word[0],
					  client->source_port, backend->port, client->protocol);
	entry = ct_lookup(&tuple);
	if (!entry || entry->flags & CTF_CLOSING || ct_expired(entry, ct_now()))
		return 0;
	return entry->reverse_nat != service && tuple.side == (entry->flags & CTF_INIT_B ? 1 : 0);
}

/*
 * Any active backend; 0: none. The same flow gets the same of the same backends: it keeps it where the map of
 * flows had no room for it any more. Only where another flow has the ports already, the next may be better.
 * A slot that the count still named may be gone while backends change: the first goes last.
 */
static __always_inline __u32 service_any(struct service_key *key, const struct service_entry *service,
					 const struct service_tuple *tuple)
{
	__u16 count = service->count;
	struct service_entry *slot;

	if (!count)
		return 0;
	key->slot = (__u16)(1 + service_pick(tuple, count));
	slot = bpf_map_lookup_elem(&MAP_SERVICES, key);
	if (slot && count > 1 && service_taken(tuple, slot->backend, service->id)) {
		key->slot = (__u16)(1 + key->slot % count);
		slot = bpf_map_lookup_elem(&MAP_SERVICES, key);
	}
	if (slot)
		return slot->backend;
	key->slot = 1;
	slot = bpf_map_lookup_elem(&MAP_SERVICES, key);
	return slot ? slot->backend : 0;
}

/* A backend for a new flow, which it has from now on; 0: there is none. */
static __always_inline __u32 service_choose(struct service_key *key, const struct service_entry *service,
					    const struct service_tuple *tuple)
{
	struct affinity_key client = {
		.client = tuple->source,
		.service = service->id,
		.family = tuple->family,
	};
	struct config *config = config_get();
	struct service_flow flow = {};
	struct affinity_entry last = {};
	__u32 seconds = service->affinity;
	__u32 id = 0;

	if (seconds)
		id = service_affine(&client, seconds);
	if (!id)
		id = service_any(key, service, tuple);
	if (!id || !config)
		return 0;
	flow.backend = id;
	flow.seen = ct_now();
	flow.lifetime = tuple->protocol == IPPROTO_TCP ? config->lifetime_tcp_syn : config->lifetime_any;
	flow.service = service->id;
	if (bpf_map_update_elem(&MAP_SERVICE_FLOWS, tuple, &flow, BPF_ANY))
		return 0;
	if (seconds) {
		last.used_ns = bpf_ktime_get_ns();
		last.backend = id;
		bpf_map_update_elem(&MAP_SERVICE_AFFINITY, &client, &last, BPF_ANY);
	}
	return id;
}

#endif
