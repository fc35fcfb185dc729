/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the slow path carries from step to step. */
#ifndef CILIATE_VERDICT_STRUCTS_H
#define CILIATE_VERDICT_STRUCTS_H

#include "common.h"
#include "conntrack.h"
#include "flow_cache.h"
#include "parse.h"
#include "policy.h"
#include "service_maps.h"

/* One end of a flow, as this node knows it. */
struct side {
	__u32 slot;  /* 0: not an endpoint of this node */
	__u32 epoch; /* read before anything that the verdict rests on */
	__u32 identity;
	__u32 ifindex;
	__u16 id;  /* of the endpoint, also of the node's own */
	__u8 host; /* this node itself */
	__u8 held; /* its identity is not to be judged by yet */
};

struct judgement {
	struct flow flow;
	struct side source;
	struct side destination;
	struct ct_tuple tuple;
	__u8 hook;	   /* HOOK_* */
	__u8 direction;	   /* DIR_*: whose policy dropped it */
	__u8 state;	   /* CT_* */
	__u8 quiet;	   /* counted, not reported */
	__u32 owner;	   /* slot whose policy dropped it; 0: the side that `direction` names */
	__be16 proxy_port; /* of the listener, if the flow passes the proxy */
	__u8 proxied;	   /* the flow passes the proxy */
	__u8 from_proxy;   /* the packet comes from it */
	__u8 redirects;	   /* REDIRECTED_* of the last verdict */
	__u8 reply;	   /* sent by the side that did not open the flow */
	__u16 service;	   /* to which the flow was opened; 0: to none */
	__u8 translated;   /* the packet was for the service */
	__u8 looped;	   /* and came back to its sender */
	__u8 nat;	   /* answers must come from the service */
	__u8 pad;
	__u16 flags;  /* CTF_* of the flow as it is now; 0: not judged */
	__u8 renamed; /* the flow was one to a service before and is not now, or the other way round */
	__u8 pad2;
	__u32 cache_time;	     /* flow_cache_time() before anything was looked at */
	__u32 service_epoch;	     /* read before anything that a translation rests on */
	struct service_tuple before; /* the packet as it came, if it was translated */
};

/* Whose policy sends a flow to the proxy. */
#define REDIRECTED_BY_INITIATOR 1
#define REDIRECTED_BY_RESPONDER 2

/* The side whose hook, or whose policy, an event is about. */
static __always_inline const struct side *judgement_owner(const struct judgement *judgement, __u32 slot,
							  __u8 direction)
{
	if (slot)
		return slot == judgement->source.slot ? &judgement->source : &judgement->destination;
	return direction == DIR_EGRESS ? &judgement->source : &judgement->destination;
}

struct scratch {
	struct judgement outer;
	struct judgement inner; /* of the packet in an ICMP error's body */
	struct bpf_fib_lookup fib;
	struct policy_request request;
};

/*
 * 0 -> room for the slow path, which the stack of 512 bytes has not. tc programs run with softirqs off, one
 * at a time on a CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} MAP_SCRATCH SEC(".maps");

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&MAP_SCRATCH, &zero);
}

/* A clean judgement for this packet, or NULL. */
static __always_inline struct judgement *judgement_begin(__u8 hook, __u8 direction)
{
	struct scratch *scratch = scratch_get();
	struct judgement *judgement;

	if (!scratch)
		return NULL;
	judgement = &scratch->outer;
	__builtin_memset(judgement, 0, sizeof(*judgement));
	judgement->hook = hook;
	judgement->direction = direction;
	judgement->state = CT_UNKNOWN;
	judgement->cache_time = flow_cache_time();
	return judgement;
}

#endif
