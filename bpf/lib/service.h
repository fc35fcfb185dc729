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
#include "conntrack.h"
#include "forward.h"
#include "service_choice.h"
#include "service_maps.h"
#include "service_rewrite.h"
#include "verdict_structs.h"

/* Notes what the client spoke to, for the answers to the packet as it is now. Returns 0 or a negative DROP_*.
 */
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
	struct service_tuple *before;
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
	judgement->service_epoch = service_epoch();
	service = service_find(&key, flow);
	if (!service)
		return 0;
	judgement->service = service->id;
	before = &judgement->before;
	service_tuple_fill(before, flow);
	id = service_kept(before, service, flow);
	if (!id && flow->later_fragment)
		return -DROP_FRAG_NOT_FOUND;
	if (!id)
		id = service_choose(&key, service, before);
	backend = bpf_map_lookup_elem(&MAP_BACKENDS, &id);
	if (!backend) {
		/* None, or one that has gone since its slot was read. */
		id = service_choose(&key, service, before);
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
	return service_note(flow, before);
}

/*
 * An answer on its way to the client of a service: it comes from the frontend afterwards. Returns 0 or a
 * negative DROP_*.
 */
SUBPROGRAM int service_inbound(struct __sk_buff *ctx, struct judgement *judgement)
{
	struct service_origin *origin;
	struct service_tuple *answer;
	struct flow *flow;
	int result;

	if (!judgement)
		return -DROP_INVALID;
	flow = &judgement->flow;
	judgement->service_epoch = service_epoch();
	answer = &judgement->before;
	service_tuple_fill(answer, flow);
	origin = bpf_map_lookup_elem(&MAP_SERVICE_ORIGINS, answer);
	if (!origin)
		return -DROP_UNKNOWN_CT;
	if (service_is_loop(&flow->destination, flow->v6)) {
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

#endif
