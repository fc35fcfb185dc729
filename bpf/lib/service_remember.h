/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Noting in the flow cache what was made of a packet to or from a service, for the next ones of its flow. */
#ifndef CILIATE_SERVICE_REMEMBER_H
#define CILIATE_SERVICE_REMEMBER_H

#include "common.h"
#include "conntrack.h"
#include "endpoint_maps.h"
#include "flow_cache.h"
#include "service_rewrite.h"
#include "verdict_structs.h"

/* Whether the fast path may do the same with the next plain packet. */
static __always_inline bool service_repeatable(const struct judgement *judgement)
{
	const struct flow *flow = &judgement->flow;
	__u32 header = flow->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u16 needed = judgement->reply ? CTF_SEEN_REPLY : CTF_ESTABLISHED;

	if (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP)
		return false;
	if (flow->l4_offset != ETH_HLEN + header || flow->first_fragment || flow->later_fragment)
		return false;
	if (flow->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))
		return false;
	/* At to_pod the cache is not asked; who the node is, it does not know. */
	if (judgement->hook == HOOK_TO_POD || judgement->flags & CTF_HOST)
		return false;
	return (judgement->flags & (CTF_CLOSING | CTF_PROXY | CTF_TUNNEL | needed)) == needed;
}

static __always_inline void service_answer(struct flow_cache_answer *answer,
					   const struct flow_cache_packet *packet,
					   const struct judgement *judgement)
{
	struct endpoint *endpoint = endpoint_get(judgement->destination.slot);

	answer->source_port = packet->source_port;
	answer->destination_port = packet->destination_port;
	answer->from_ifindex = packet->ifindex;
	answer->protocol = (__u8)packet->protocol;
	answer->hook = (__u8)packet->hook;
	answer->time = judgement->cache_time;
	answer->epoch[0] = judgement->source.epoch;
	answer->epoch[1] = judgement->destination.epoch;
	answer->slot[0] = (__u16)judgement->source.slot;
	answer->slot[1] = (__u16)judgement->destination.slot;
	answer->ifindex = judgement->destination.ifindex;
	if (endpoint)
		__builtin_memcpy(answer->mac, endpoint->mac, 6);
}

static __always_inline void service_becomes(struct flow_cache_end *becomes, const struct judgement *judgement)
{
	const struct flow *flow = &judgement->flow;

	becomes->port = judgement->reply ? flow->source_port : flow->destination_port;
	becomes->end = judgement->reply ? END_SOURCE : END_DESTINATION;
}

static __always_inline void service_remember4(const struct judgement *judgement,
					      const struct flow_cache_packet *packet)
{
	__be32 source = judgement->before.source.word[0], destination = judgement->before.destination.word[0];
	const struct flow *flow = &judgement->flow;
	struct flow_cache4_entry *entry = flow_cache4_place(source, destination, packet);

	if (!entry ||
	    (flow_cache_taken(&entry->answer) && !flow_cache4_matches(entry, source, destination, packet)))
		return;
	entry->source = source;
	entry->destination = destination;
	entry->address = judgement->reply ? flow->source.word[0] : flow->destination.word[0];
	entry->service_epoch = judgement->service_epoch;
	service_becomes(&entry->becomes, judgement);
	service_answer(&entry->answer, packet, judgement);
}

static __always_inline void service_remember6(const struct judgement *judgement,
					      const struct flow_cache_packet *packet)
{
	const struct service_tuple *before = &judgement->before;
	const struct flow *flow = &judgement->flow;
	struct flow_cache6_entry *entry = flow_cache6_place(&before->source, &before->destination, packet);

	if (!entry || (flow_cache_taken(&entry->answer) &&
		       !flow_cache6_matches(entry, &before->source, &before->destination, packet)))
		return;
	entry->source = before->source;
	entry->destination = before->destination;
	entry->address = judgement->reply ? flow->source : flow->destination;
	entry->service_epoch = judgement->service_epoch;
	service_becomes(&entry->becomes, judgement);
	service_answer(&entry->answer, packet, judgement);
}

/* The packet was translated, and goes on. Returns 0. */
SUBPROGRAM int service_remember(struct __sk_buff *ctx, const struct judgement *judgement)
{
	struct flow_cache_packet packet = {};

	if (!judgement || !service_repeatable(judgement))
		return 0;
	packet.hook = judgement->hook;
	packet.source_port = judgement->before.source_port;
	packet.destination_port = judgement->before.destination_port;
	packet.ifindex = ctx->ifindex;
	packet.protocol = judgement->before.protocol;
	if (judgement->flow.v6)
		service_remember6(judgement, &packet);
	else
		service_remember4(judgement, &packet);
	return 0;
}

#endif
