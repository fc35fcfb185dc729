/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Balancing of what endpoints send to services, packet by packet:
 * 1. the frontend is looked up by destination, or as the port of any node where the destination is one;
 * 2. the flow keeps the backend that it has, else gets one: the client's last if the service wants that, else
 *    any active one;
 * 3. the destination becomes the backend's, before policy judges it; conntrack's entry says that it was so
 *    (CTF_NAT), and the answers become the frontend's where they reach the client's node again.
 *
 * A pod that is its own backend would throw away packets from its own address: it sees them come from
 * SERVICE_LOOP instead. No policy comes between a pod and itself.
 */
#ifndef CILIATE_SERVICE_H
#define CILIATE_SERVICE_H

#include "common.h"
#include "config_maps.h"
#include "conntrack.h"
#include "forward.h"
#include "judge_policies.h"
#include "judge_sides.h"
#include "service_maps.h"
#include "service_rewrite.h"
#include "verdict_structs.h"

/* 169.254.42.1 (RFC 3927), as in Cilium, and an address of a range of our own (RFC 4193). */
#define SERVICE_LOOP4	0xa9fe2a01
#define SERVICE_LOOP6_0 0xfd63696c
#define SERVICE_LOOP6_3 0x00000001

#define NS_PER_SECOND 1000000000ULL

static __always_inline void service_loop_address(union address *address, bool v6)
{
	__builtin_memset(address, 0, sizeof(*address));
	if (v6) {
		address->word[0] = bpf_htonl(SERVICE_LOOP6_0);
		address->word[3] = bpf_htonl(SERVICE_LOOP6_3);
	} else {
		address->word[0] = bpf_htonl(SERVICE_LOOP4);
	}
}

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
static __always_inline __u32 service_kept(const struct service_tuple *tuple, const struct service_entry *service,
					  const struct flow *flow)
{
	struct service_flow *kept = bpf_map_lookup_elem(&MAP_SERVICE_FLOWS, tuple);
	struct config *config = config_get();
	struct backend_entry *backend;
	__u32 id, now = ct_now();

	if (!kept || !config || kept->service != service->id)
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

/*
 * Any active backend; 0: none. A slot that the count still named may be gone while backends change: the first
 * goes last.
 */
static __always_inline __u32 service_any(struct service_key *key, const struct service_entry *service)
{
	__u16 count = service->count;
	struct service_entry *slot;

	if (!count)
		return 0;
	key->slot = 1 + bpf_get_prandom_u32() % count;
	slot = bpf_map_lookup_elem(&MAP_SERVICES, key);
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
		id = service_any(key, service);
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

/* Notes what the client spoke to, for the answers to the packet as it is now. Returns 0 or a negative DROP_*. */
static __always_inline int service_note(const struct flow *flow, const struct service_tuple *before)
{
	struct service_origin origin = {
		.client = before->source,
		.frontend = before->destination,
		.port = before->destination_port,
	};
	struct service_origin *known;
	struct service_tuple answer;

	service_tuple_turn(&answer, flow);
	known = bpf_map_lookup_elem(&MAP_SERVICE_ORIGINS, &answer);
	if (known && address_equal(&known->frontend, &origin.frontend) && known->port == origin.port)
		return 0;
	return bpf_map_update_elem(&MAP_SERVICE_ORIGINS, &answer, &origin, BPF_ANY) ? -DROP_CT_CREATE_FAILED
										    : 0;
}

/*
 * A packet of an endpoint's on its way out: if it is for a service, it is for a backend afterwards, and
 * `flow` says so. Returns 0 or a negative DROP_*.
 */
SUBPROGRAM int service_outbound(struct __sk_buff *ctx, struct judgement *judgement)
{
	struct backend_entry *backend;
	struct service_entry *service;
	struct service_tuple before;
	struct service_key key;
	struct flow *flow;
	union address loop;
	__u32 id;
	int result;

	if (!judgement)
		return -DROP_INVALID;
	flow = &judgement->flow;
	if (!service_protocol(flow))
		return 0;
	service = service_find(&key, flow);
	if (!service)
		return 0;
	judgement->service = service->id;
	service_tuple_fill(&before, flow);
	id = service_kept(&before, service, flow);
	if (!id && flow->later_fragment)
		return -DROP_FRAG_NOT_FOUND;
	if (!id)
		id = service_choose(&key, service, &before);
	backend = bpf_map_lookup_elem(&MAP_BACKENDS, &id);
	if (!backend) {
		/* None, or one that has gone since its slot was read. */
		id = service_choose(&key, service, &before);
		backend = bpf_map_lookup_elem(&MAP_BACKENDS, &id);
	}
	if (!backend)
		return -DROP_NO_SERVICE;
	/* Pieces that follow come to the frontend too. */
	if (flow->first_fragment)
		fragment_note(flow);
	if (address_equal(&backend->address, &flow->source)) {
		judgement->looped = 1;
		service_loop_address(&loop, flow->v6);
		result = service_rewrite(ctx, flow, END_SOURCE, &loop, flow->source_port);
		if (result)
			return result;
	}
	result = service_rewrite(ctx, flow, END_DESTINATION, &backend->address, backend->port);
	if (result)
		return result;
	judgement->translated = 1;
	return service_note(flow, &before);
}

/*
 * An answer on its way to the client of a service: it comes from the frontend afterwards. Returns 0 or a
 * negative DROP_*.
 */
SUBPROGRAM int service_inbound(struct __sk_buff *ctx, struct judgement *judgement)
{
	struct service_origin *origin;
	struct service_tuple answer;
	union address loop;
	struct flow *flow;
	int result;

	if (!judgement)
		return -DROP_INVALID;
	flow = &judgement->flow;
	service_tuple_fill(&answer, flow);
	origin = bpf_map_lookup_elem(&MAP_SERVICE_ORIGINS, &answer);
	if (!origin)
		return -DROP_UNKNOWN_CT;
	service_loop_address(&loop, flow->v6);
	if (address_equal(&flow->destination, &loop)) {
		result = service_rewrite(ctx, flow, END_DESTINATION, &origin->client, flow->destination_port);
		if (result)
			return result;
	}
	return service_rewrite(ctx, flow, END_SOURCE, &origin->frontend, origin->port);
}

/*
 * An ICMP error on its way to the client of a service, about a packet to a backend: it is about one to the
 * frontend afterwards, and comes from there if the backend sent it. Returns 0 or a negative DROP_*.
 */
SUBPROGRAM int service_inbound_error(struct __sk_buff *ctx, struct judgement *judgement)
{
	struct scratch *scratch = scratch_get();
	struct service_origin *origin;
	struct service_tuple answer;
	struct flow *inner;
	int result;

	if (!judgement || !scratch)
		return -DROP_INVALID;
	inner = &scratch->inner.flow;
	service_tuple_turn(&answer, inner);
	origin = bpf_map_lookup_elem(&MAP_SERVICE_ORIGINS, &answer);
	if (!origin)
		return -DROP_UNKNOWN_CT;
	result = service_rewrite_quote(ctx, &judgement->flow, inner, &origin->frontend, origin->port);
	if (result)
		return result;
	if (!address_equal(&judgement->flow.source, &answer.source))
		return 0;
	return service_rewrite(ctx, &judgement->flow, END_SOURCE, &origin->frontend, 0);
}

/* Whether a packet answers what its sender got from itself through a service. */
static __always_inline bool service_loops_back(const struct flow *flow)
{
	union address loop;

	service_loop_address(&loop, flow->v6);
	return address_equal(&flow->destination, &loop);
}

#endif
