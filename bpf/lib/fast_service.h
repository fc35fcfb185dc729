/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Plain packets of flows to services, translated as the slow path has noted. */
#ifndef CILIATE_FAST_SERVICE_H
#define CILIATE_FAST_SERVICE_H

#include "common.h"
#include "fast_route.h"
#include "flow_cache.h"
#include "service_maps.h"
#include "service_rewrite.h"

/* What service_rewrite wants to know of a packet that matches an answer, but for its addresses. */
static __always_inline void fast_flow(struct flow *flow, const struct flow_cache_answer *answer,
				      __u32 l4_offset)
{
	flow->source_port = answer->source_port;
	flow->destination_port = answer->destination_port;
	flow->protocol = answer->protocol;
	flow->l4_offset = l4_offset;
}

/* A packet of a flow to a service, as the slow path has noted it. One that is half translated goes nowhere. */
static __always_inline int fast_translated4(struct __sk_buff *ctx, const struct flow_cache4_entry *entry,
					    __u32 hook)
{
	union address address = {.word[0] = entry->address};
	struct fast_route route;
	struct flow flow = {};
	void *data, *data_end;
	struct iphdr *ip;

	if (entry->service_epoch != service_epoch())
		return FAST_MISS;
	flow.source.word[0] = entry->source;
	flow.destination.word[0] = entry->destination;
	fast_flow(&flow, &entry->answer, ETH_HLEN + sizeof(*ip));
	if (service_rewrite(ctx, &flow, entry->becomes.end, &address, entry->becomes.port))
		return VERDICT_DROP;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > data_end)
		return VERDICT_DROP;
	fast_route_noted(&route, &entry->answer);
	fast_age4(ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

static __always_inline int fast_translated6(struct __sk_buff *ctx, const struct flow_cache6_entry *entry,
					    __u32 hook)
{
	union address address = entry->address;
	struct fast_route route;
	struct flow flow = {};
	void *data, *data_end;
	struct ipv6hdr *ip;

	if (entry->service_epoch != service_epoch())
		return FAST_MISS;
	flow.v6 = 1;
	flow.source = entry->source;
	flow.destination = entry->destination;
	fast_flow(&flow, &entry->answer, ETH_HLEN + sizeof(*ip));
	if (service_rewrite(ctx, &flow, entry->becomes.end, &address, entry->becomes.port))
		return VERDICT_DROP;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > data_end)
		return VERDICT_DROP;
	fast_route_noted(&route, &entry->answer);
	fast_age6(ctx, ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

/* Functions of their own: what packets to services need is nothing that others have to carry. */
#define FAST_TRANSLATED(family, name, hook)                                                                  \
	static __attribute__((noinline)) int translated##family##_##name(                                    \
		struct __sk_buff *ctx, const struct flow_cache##family##_entry *entry)                       \
	{                                                                                                    \
		return fast_translated##family(ctx, entry, hook);                                            \
	}

FAST_TRANSLATED(4, from_pod, HOOK_FROM_POD)
FAST_TRANSLATED(4, from_netdev, HOOK_FROM_NETDEV)
FAST_TRANSLATED(6, from_pod, HOOK_FROM_POD)
FAST_TRANSLATED(6, from_netdev, HOOK_FROM_NETDEV)

#endif
