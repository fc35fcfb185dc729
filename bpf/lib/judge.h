/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict of a packet that the fast path could not take:
 * 1. read the epochs of both sides, then who they are;
 * 2. find the flow; a TCP SYN that opens it anew makes it a new one;
 * 3. a flow whose verdict still holds only advances its state;
 * 4. else judge it in the direction in which it was opened: egress of a local initiator, ingress of a local
 *    responder; so a reply is judged as part of its flow, and a flow that is denied now ends in both
 * directions;
 * 5. keep the verdict under the epochs of step 1.
 */
#ifndef CILIATE_JUDGE_H
#define CILIATE_JUDGE_H

#include "common.h"
#include "conntrack.h"
#include "endpoint_maps.h"
#include "ipcache.h"
#include "policy.h"
#include "rule_stats.h"
#include "trace.h"
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
SUBPROGRAM int ct_store(const struct judgement *judgement, __u16 flags, __u32 tcp_flags)
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
	entry.proxy_port = judgement->proxy_port;
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
	return ct_update(&judgement->tuple, &entry) ? -DROP_CT_CREATE_FAILED : 0;
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

static __always_inline void ct_touch(struct ct_entry *entry, const struct judgement *judgement)
{
	struct config *config = config_get();
	__u16 flags =
		ct_advance(entry->flags, &judgement->flow, judgement->tuple.side, judgement->from_proxy);

	if (judgement->tuple.side)
		entry->tcp_flags[1] |= judgement->flow.tcp_flags;
	else
		entry->tcp_flags[0] |= judgement->flow.tcp_flags;
	entry->flags = flags;
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
	if (ct_fresh(entry))
		return 0;
	initiated = inner->tuple.side == (entry->flags & CTF_INIT_B ? 1 : 0);
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
		if (!judgement->from_proxy && ct_reopens(entry, flow, reply)) {
			judgement->state = CT_REOPENED;
			reply = false;
		} else {
			judgement->state = reply ? CT_REPLY : CT_ESTABLISHED;
			flags = entry->flags;
			proxy_port = entry->proxy_port;
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
	side_identify(&judgement->source, &flow->source, flow->v6, true);
	side_identify(&judgement->destination, &flow->destination, flow->v6, false);
	if (judgement->state != CT_NEW && judgement->state != CT_REOPENED && entry && ct_fresh(entry) &&
	    ct_binds(entry, judgement)) {
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
