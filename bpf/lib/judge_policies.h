/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the policies of a flow's ends say of it, and that of the node for what is meant for it. */
#ifndef CILIATE_JUDGE_POLICIES_H
#define CILIATE_JUDGE_POLICIES_H

#include "common.h"
#include "endpoint_maps.h"
#include "policy.h"
#include "rule_stats.h"
#include "trace.h"
#include "verdict_structs.h"

/* The port by which policy judges the flow, seen from a packet that may be a reply. */
static __always_inline __be16 flow_policy_port(const struct flow *flow, bool reply)
{
	if (!reply)
		return flow->policy_port;
	if (flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6)
		return icmp_type_of_ports(flow->destination_port, flow->source_port, flow->v6);
	return flow->source_port;
}

/* Whether the packet opens a flow, as far as this node can tell. */
static __always_inline bool opens_flow(const struct judgement *judgement)
{
	return judgement->state == CT_NEW || judgement->state == CT_REOPENED;
}

/* This node or another one, whatever labels it has; numbers from 2^25 to 3 * 2^24 are nodes'. */
static __always_inline bool is_node(__u32 identity)
{
	return identity == IDENTITY_HOST || identity == IDENTITY_REMOTE_NODE ||
	       identity == IDENTITY_KUBE_APISERVER || identity >> 24 == 2;
}

/*
 * Whether a policy is for the side: an endpoint's, or the node's own, which is that of slot 0. Flows of the
 * node hang on the epoch of slot 0, which moves with its policy too.
 */
static __always_inline bool is_judged(struct side *side)
{
	struct endpoint *host;

	if (side->slot)
		return true;
	if (!side->host)
		return false;
	host = endpoint_get(0);
	if (!host || !host->id)
		return false;
	side->id = host->id;
	return true;
}

static __always_inline bool is_audited(__u32 slot)
{
	struct endpoint *endpoint = endpoint_get(slot);

	return endpoint && endpoint->flags & EP_AUDIT;
}

/*
 * Asks one policy. With `report` it is told of; a refusal always is. Counted for its rule is what opens a
 * flow and is reported or refused.
 */
static __always_inline int judge_side(struct __sk_buff *ctx, struct judgement *judgement,
				      struct policy_request *request, bool report)
{
	int verdict = policy_check(request);

	if ((verdict == -DROP_POLICY || verdict == -DROP_POLICY_DENY) && is_audited(request->slot)) {
		if (report)
			trace_policy(ctx, judgement, request, verdict, true);
		return 0;
	}
	/* No packet of the node's own can be given to the proxy. */
	if (verdict > 0 && !request->slot)
		verdict = -DROP_PROXY_UNKNOWN_PROTO;
	/* Where no rule has a say there is nothing to tell. */
	if ((report && request->match != MATCH_NONE) || verdict < 0)
		trace_policy(ctx, judgement, request, verdict, false);
	if (report || (verdict < 0 && opens_flow(judgement)))
		rule_stats_count(request, verdict);
	if (verdict < 0) {
		judgement->direction = request->direction;
		judgement->owner = request->slot;
	}
	return verdict;
}

/*
 * Both policies that apply. Returns 0, the port of the proxy that the flow has to pass, the initiator's if
 * both say so, or a negative DROP_*, and in `direction` whose it was.
 */
SUBPROGRAM int judge_policies(struct __sk_buff *ctx, struct judgement *judgement, bool reply, bool report)
{
	struct scratch *scratch = scratch_get();
	struct side *initiator, *responder;
	struct policy_request *request;
	int egress = 0, ingress = 0;
	bool sends, takes;

	if (!judgement || !scratch)
		return -DROP_INVALID;
	judgement->redirects = 0;
	request = &scratch->request;
	request->bytes = ctx->len;
	request->port = flow_policy_port(&judgement->flow, reply);
	request->protocol = judgement->flow.protocol;
	initiator = reply ? &judgement->destination : &judgement->source;
	responder = reply ? &judgement->source : &judgement->destination;
	sends = is_judged(initiator);
	takes = is_judged(responder);
	if ((initiator->held || responder->held) && (sends || takes)) {
		judgement->direction = sends ? DIR_EGRESS : DIR_INGRESS;
		judgement->owner = sends ? initiator->slot : responder->slot;
		return -DROP_INVALID_IDENTITY;
	}
	if (sends) {
		request->slot = initiator->slot;
		request->identity = responder->identity;
		request->direction = DIR_EGRESS;
		egress = judge_side(ctx, judgement, request, report);
		if (egress < 0)
			return egress;
		if (egress)
			judgement->redirects |= REDIRECTED_BY_INITIATOR;
	}
	if (takes) {
		request->slot = responder->slot;
		request->identity = initiator->identity;
		request->direction = DIR_INGRESS;
		ingress = judge_side(ctx, judgement, request, report);
		if (ingress < 0)
			return ingress;
		if (ingress)
			judgement->redirects |= REDIRECTED_BY_RESPONDER;
	}
	return egress ? egress : ingress;
}

/*
 * Whether the stack would keep a packet for this address to itself: groups, broadcast and loopback, and
 * whatever the routing table calls local. It knows addresses that nobody has named to us.
 */
static __always_inline bool stays_on_node(struct __sk_buff *ctx, const struct flow *flow,
					  struct bpf_fib_lookup *fib)
{
	const __u8 *to = flow->destination.bytes;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ctx->ifindex;
	fib->l4_protocol = flow->protocol;
	if (flow->v6) {
		if (to[0] == 0xff || (to[0] == 0xfe && (to[1] & 0xc0) == 0x80))
			return true;
		fib->family = 10; /* AF_INET6 */
		__builtin_memcpy(fib->ipv6_src, &flow->source, 16);
		__builtin_memcpy(fib->ipv6_dst, &flow->destination, 16);
	} else {
		if (to[0] == 0 || to[0] == 127 || to[0] >= 224)
			return true;
		fib->family = 2; /* AF_INET */
		fib->ipv4_src = flow->source.word[0];
		fib->ipv4_dst = flow->destination.word[0];
	}
	/* Without forwarding nothing gets beyond the node; the agent turns it on before it attaches anybody.
	 */
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/*
 * What an endpoint may send to an address, by the identity that the address has, it may send to the node only
 * if it may speak to the host as well: else "the world" would include every address of this node that nobody
 * listed. The node's own policy has its say then. Returns as judge_policies does.
 */
SUBPROGRAM int judge_as_host(struct __sk_buff *ctx, struct judgement *judgement)
{
	struct scratch *scratch = scratch_get();
	struct policy_request *request;
	struct endpoint *host;
	int verdict, refused;

	if (!judgement || !scratch)
		return -DROP_INVALID;
	if (judgement->hook != HOOK_FROM_POD || judgement->destination.slot || judgement->destination.host ||
	    !stays_on_node(ctx, &judgement->flow, &scratch->fib))
		return 0;
	request = &scratch->request;
	request->bytes = ctx->len;
	request->identity = IDENTITY_HOST;
	request->direction = DIR_EGRESS;
	request->slot = judgement->source.slot;
	request->port = judgement->flow.policy_port;
	request->protocol = judgement->flow.protocol;
	verdict = judge_side(ctx, judgement, request, false);
	if (verdict < 0)
		judgement->destination.identity = IDENTITY_HOST;
	else if (verdict)
		judgement->redirects |= REDIRECTED_BY_INITIATOR;
	host = endpoint_get(0);
	if (verdict < 0 || !host || !host->id)
		return verdict;
	request->slot = 0;
	request->identity = judgement->source.identity;
	request->direction = DIR_INGRESS;
	refused = judge_side(ctx, judgement, request, false);
	if (refused >= 0)
		return verdict;
	judgement->destination.identity = IDENTITY_HOST;
	judgement->destination.id = host->id;
	return refused;
}

#endif
