/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last steps of a packet off the fast path: counting, reporting, forwarding. */
#ifndef CILIATE_SLOW_H
#define CILIATE_SLOW_H

#include "arp_nd.h"
#include "common.h"
#include "fast.h"
#include "forward.h"
#include "judge.h"
#include "metrics.h"
#include "proxy.h"
#include "service.h"
#include "service_refuse.h"
#include "service_remember.h"
#include "trace.h"

/* A flow that passes the proxy, from an end of it. Returns a verdict or a negative DROP_*. */
static __always_inline int deliver_to_proxy(struct __sk_buff *ctx, struct judgement *judgement)
{
	bool fresh = opens_flow(judgement);
	__u32 length = ctx->len;
	int verdict;

	if (judgement->hook == HOOK_TO_POD)
		return proxy_return(ctx);
	verdict = proxy_take(ctx, judgement);
	if (verdict < 0)
		return verdict;
	if (fresh)
		trace_forward(ctx, judgement, TRACE_TO_PROXY);
	if (judgement->hook == HOOK_FROM_POD)
		count_egress(judgement->source.slot, length);
	return verdict;
}

/* What comes to the client of a service comes from the service. Returns 0 or a negative DROP_*. */
static __always_inline int deliver_as_service(struct __sk_buff *ctx, struct judgement *judgement)
{
	int result;

	if (judgement->flow.icmp_error)
		return service_inbound_error(ctx, judgement);
	result = judgement->reply ? service_inbound(ctx, judgement) : 0;
	if (!result && (judgement->reply || judgement->translated))
		service_remember(ctx, judgement);
	return result;
}

/* Sends on what may pass. Returns a verdict or a negative DROP_*. */
static __always_inline int deliver(struct __sk_buff *ctx, struct judgement *judgement)
{
	bool fresh = opens_flow(judgement);
	bool local = judgement->destination.slot != 0;
	__u32 length = ctx->len;
	int verdict = VERDICT_PASS;

	if (judgement->flow.first_fragment)
		fragment_note(&judgement->flow);
	if (judgement->proxied && !judgement->from_proxy && !proxy_told_by_stack(judgement))
		return deliver_to_proxy(ctx, judgement);
	/* With the proxy's mark, but of no flow that the proxy has. */
	if (judgement->from_proxy && !judgement->proxied && judgement->state != CT_RELATED)
		return -DROP_INVALID_SIP;
	if (judgement->from_proxy && (fresh || tcp_pure_syn(judgement->flow.tcp_flags)))
		trace_forward(ctx, judgement, TRACE_FROM_PROXY);
	else if (fresh)
		trace_forward(ctx, judgement, local ? TRACE_TO_LXC : TRACE_TO_STACK);
	if (judgement->nat) {
		verdict = deliver_as_service(ctx, judgement);
		if (verdict < 0)
			return verdict;
		verdict = VERDICT_PASS;
	}
	if (local && judgement->hook != HOOK_TO_POD) {
		verdict = forward_local(ctx, &judgement->flow, judgement->destination.slot);
		if (verdict < 0)
			return verdict;
	}
	if (judgement->hook == HOOK_FROM_POD)
		count_egress(judgement->source.slot, length);
	if (local)
		count_ingress(judgement->destination.slot, length);
	return verdict;
}

/* A probe of health that is dropped says so itself: nothing of it costs a packet that passes. */
static __always_inline void note_dropped_probe(struct __sk_buff *ctx, const struct judgement *judgement,
					       __u32 reason)
{
	const struct flow *flow = &judgement->flow;
	__u8 reply = flow->v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY;

	if (flow->protocol == (flow->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) && flow->l4_offset)
		probe_seen(ctx, flow->l4_offset + sizeof(struct icmp_head),
			   judgement->hook | (flow->icmp_type == reply ? WAYPOINT_ANSWER : 0), reason);
}

/* The one place where a negative DROP_* becomes a drop: counted, and reported unless it is noise. */
static __always_inline int finish(struct __sk_buff *ctx, struct judgement *judgement, int result)
{
	const struct side *owner;
	__u32 reason;

	if (result >= 0)
		return result;
	reason = (__u32)-result;
	owner = judgement_owner(judgement, judgement->owner, judgement->direction);
	count_drop(owner->slot, judgement->direction, reason, ctx->len);
	note_dropped_probe(ctx, judgement, reason);
	if (!judgement->quiet)
		trace_drop(ctx, judgement, reason);
	return VERDICT_DROP;
}

#endif
