/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict of a packet that the fast path could not take:
 * 1. read the epochs of both sides, then who they are;
 * 2. find the flow; a TCP SYN that opens it anew makes it a new one;
 * 3. a flow whose verdict still holds only advances its state;
 * 4. else judge it in the direction in which it was opened: egress of a local initiator, ingress of a local
 *    responder; so a reply is judged as part of its flow, and a flow that is denied now ends in both
 *    directions;
 * 5. keep the verdict under the epochs of step 1.
 */
#ifndef CILIATE_JUDGE_H
#define CILIATE_JUDGE_H

#include "common.h"
#include "conntrack.h"
#include "judge_sides.h"
#include "judge_policies.h"
#include "judge_entry.h"
#include "service_maps.h"
#include "verdict_structs.h"

/*
 * What a flow that may pass has to do with the proxy, by the verdict and by what it had before: `flags` of a
 * new flow say only who opened it. Returns the flags to keep.
 *
 * One that the proxy has stays with it until it ends, also when no policy asks for that any more: its ends
 * know nobody else. One that the proxy opens is the proxy's.
 */
static __always_inline __u16 judge_proxied(struct judgement *judgement, __u16 flags, __be16 old_port,
					   int verdict)
{
	bool from_b = flags & CTF_INIT_B;
	__u8 redirects = judgement->redirects;

	judgement->proxy_port = old_port;
	if (verdict > 0) {
		judgement->proxy_port = bpf_htons((__u16)verdict);
		flags &= (__u16)~CTF_PROXY;
		if (redirects & (from_b ? REDIRECTED_BY_RESPONDER : REDIRECTED_BY_INITIATOR))
			flags |= CTF_PROXY_A;
		if (redirects & (from_b ? REDIRECTED_BY_INITIATOR : REDIRECTED_BY_RESPONDER))
			flags |= CTF_PROXY_B;
	} else if (judgement->from_proxy && judgement->state == CT_NEW) {
		flags |= from_b ? CTF_PROXY_B : CTF_PROXY_A;
	}
	judgement->proxied = (flags & CTF_PROXY) != 0;
	return flags;
}

/*
 * Whether answers of a flow must come from a service: what its client sends from its own device says so.
 * Returns the flags to keep.
 */
static __always_inline __u16 judge_translated(struct judgement *judgement, __u16 flags)
{
	if (judgement->hook == HOOK_FROM_POD && !judgement->reply) {
		flags &= (__u16)~CTF_NAT;
		if (judgement->translated)
			flags |= CTF_NAT;
	}
	judgement->nat = (flags & CTF_NAT) != 0;
	return flags;
}

/*
 * An ICMP error passes if the packet in its body belongs to a flow that may pass, and was sent by the
 * receiver. Only an endpoint itself, or a router outside, can know such a packet.
 */
SUBPROGRAM int judge_related(struct __sk_buff *ctx, struct judgement *outer)
{
	struct scratch *scratch = scratch_get();
	struct judgement *inner;
	struct ct_entry *entry;
	bool initiated;
	int result;

	if (!outer || !scratch)
		return -DROP_INVALID;
	inner = &scratch->inner;
	__builtin_memset(inner, 0, sizeof(*inner));
	inner->hook = outer->hook;
	inner->flow.v6 = outer->flow.v6;
	outer->state = CT_RELATED;
	inner->state = CT_RELATED;
	result = parse_embedded(ctx, &outer->flow, &inner->flow);
	if (result || inner->flow.icmp_error)
		return -DROP_UNKNOWN_CT;
	if (!address_equal(&inner->flow.source, &outer->flow.destination))
		return -DROP_UNKNOWN_CT;
	if (outer->hook == HOOK_FROM_POD && !address_equal(&inner->flow.destination, &outer->flow.source))
		return -DROP_UNKNOWN_CT;
	ct_tuple_fill(&inner->tuple, &inner->flow);
	entry = ct_lookup(&inner->tuple);
	if (!entry || ct_expired(entry, ct_now()))
		return -DROP_UNKNOWN_CT;
	outer->proxied = (entry->flags & CTF_PROXY) != 0;
	initiated = inner->tuple.side == (entry->flags & CTF_INIT_B ? 1 : 0);
	outer->nat = initiated && entry->flags & CTF_NAT;
	if (ct_fresh(entry))
		return 0;
	result = side_of_address(&inner->source, &inner->flow.source, inner->flow.v6);
	if (result)
		return result;
	result = side_of_address(&inner->destination, &inner->flow.destination, inner->flow.v6);
	if (result)
		return result;
	side_identify(&inner->source, &inner->flow.source, inner->flow.v6, false);
	side_identify(&inner->destination, &inner->flow.destination, inner->flow.v6, false);
	result = judge_policies(ctx, inner, !initiated, false);
	if (result >= 0)
		return 0;
	outer->direction = inner->direction;
	outer->owner = inner->owner;
	return result;
}

/*
 * The node had flows before its own policy was judged. Of one that is met under way the side with the lower
 * port was called: whoever opens one comes from a port above those of services. The SYN of a new one is
 * judged in any case.
 */
static __always_inline bool answers_unseen(const struct judgement *judgement)
{
	const struct flow *flow = &judgement->flow;

	if (judgement->hook != HOOK_TO_HOST && judgement->hook != HOOK_FROM_HOST)
		return false;
	if (flow->protocol != IPPROTO_TCP || tcp_pure_syn(flow->tcp_flags))
		return false;
	return flow->tcp_flags & TCP_SYN || bpf_ntohs(flow->source_port) < bpf_ntohs(flow->destination_port);
}

/* The steps of the file's head; both sides' slots and epochs are known. Returns 0 or a negative DROP_*. */
SUBPROGRAM int judge(struct __sk_buff *ctx, struct judgement *judgement)
{
	__u32 tcp_flags = 0;
	struct ct_entry *entry;
	__be16 proxy_port = 0;
	bool reply = false;
	struct flow *flow;
	__u16 flags;
	int verdict, as_host;

	if (!judgement)
		return -DROP_INVALID;
	flow = &judgement->flow;
	if (address_equal(&flow->source, &flow->destination))
		return -DROP_INVALID;
	/* What a pod sends to itself through a service comes from there, and never this way. */
	if (judgement->destination.slot && service_is_loop(&flow->source, flow->v6))
		return -DROP_INVALID_SIP;
	/* An endpoint has one way out; nobody tells it, and it tells nobody, of another. */
	if (!flow->v6 && flow->protocol == IPPROTO_ICMP && flow->icmp_type == ICMP_REDIRECT)
		return -DROP_INVALID;
	if (flow->icmp_error) {
		side_identify(&judgement->source, &flow->source, flow->v6, true);
		side_identify(&judgement->destination, &flow->destination, flow->v6, false);
		return judge_related(ctx, judgement);
	}
	ct_tuple_fill(&judgement->tuple, flow);
	flags = judgement->tuple.side ? CTF_INIT_B : 0;
	judgement->state = CT_NEW;
	entry = ct_lookup(&judgement->tuple);
	if (entry && !ct_expired(entry, ct_now()) && ct_same_endpoints(entry, judgement)) {
		reply = judgement->tuple.side != (entry->flags & CTF_INIT_B ? 1 : 0);
		/* Whoever speaks to a service is its client: a backend that spoke first after conntrack had
		 * lost the flow did not open it. */
		if ((reply && judgement->translated) ||
		    (!judgement->from_proxy && ct_reopens(entry, flow, reply))) {
			judgement->state = CT_REOPENED;
			reply = false;
		} else {
			judgement->state = reply ? CT_REPLY : CT_ESTABLISHED;
			flags = entry->flags;
			proxy_port = entry->proxy_port;
			if (!judgement->service)
				judgement->service = entry->reverse_nat;
			/* The node spoke from an address that it has not named: the answer still goes to the
			 * node. */
			if (judgement->hook == HOOK_FROM_POD && flags & CTF_HOST &&
			    !judgement->destination.slot)
				judgement->destination.host = 1;
			tcp_flags = entry->tcp_flags[0] | (__u32)entry->tcp_flags[1] << 8;
		}
	}
	if (judgement->state == CT_NEW && answers_unseen(judgement)) {
		reply = true;
		flags ^= CTF_INIT_B;
	}
	judgement->reply = reply;
	flags = judge_translated(judgement, flags);
	judgement->renamed = entry && (entry->flags ^ flags) & CTF_NAT;
	side_identify(&judgement->source, &flow->source, flow->v6, true);
	side_identify(&judgement->destination, &flow->destination, flow->v6, false);
	if (judgement->state != CT_NEW && judgement->state != CT_REOPENED && entry && ct_fresh(entry) &&
	    ct_binds(entry, judgement) && !judgement->renamed) {
		ct_touch(entry, judgement);
		judgement->proxied = (flags & CTF_PROXY) != 0;
		judgement->proxy_port = proxy_port;
		return 0;
	}
	if (flow->protocol == IPPROTO_UDP && tunnel_port &&
	    flow->destination_port == bpf_htons(tunnel_port) && judgement->hook == HOOK_FROM_POD &&
	    is_node(judgement->destination.identity))
		return -DROP_ENCAP_PROHIBITED;
	verdict = judge_policies(ctx, judgement, reply, opens_flow(judgement));
	if (verdict >= 0 && !reply) {
		as_host = judge_as_host(ctx, judgement);
		if (as_host < 0 || !verdict)
			verdict = as_host;
	}
	/*
	 * A flow that is denied now keeps its entry, stale: it remembers who opened the flow. Without it the
	 * other side's next packet would pass as the first of a flow of its own, and let the denied one back
	 * in as replies. TCP that goes on trying does not outlive the memory: its own SYN would begin anew.
	 */
	if (verdict < 0) {
		if (flow->protocol == IPPROTO_TCP && entry && (reply || judgement->state == CT_ESTABLISHED))
			entry->seen = ct_now();
		return verdict;
	}
	flags = judge_proxied(judgement, flags, proxy_port, verdict);
	return ct_store(judgement, flags, tcp_flags);
}

#endif
