/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writing events. Only slow paths do it: an established packet costs nothing here. */
#ifndef CILIATE_TRACE_H
#define CILIATE_TRACE_H

#include "common.h"
#include "config_maps.h"
#include "events_maps.h"
#include "policy.h"
#include "verdict_structs.h"

static __always_inline bool event_wanted(__u32 kind)
{
	struct config *config = config_get();

	return config && config->event_kinds & (1U << kind);
}

static __always_inline void event_count_lost(void)
{
	__u32 zero = 0;
	__u64 *lost = bpf_map_lookup_elem(&MAP_LOST, &zero);

	if (lost)
		(*lost)++;
}

static __always_inline void event_capture(struct __sk_buff *ctx, struct event *event)
{
	__u32 length = ctx->len;

	if (length > LIMIT_EVENT_CAPTURE_BYTES)
		length = LIMIT_EVENT_CAPTURE_BYTES;
	barrier_var(length);
	event->capture_length = 0;
	if (length == 0 || length > LIMIT_EVENT_CAPTURE_BYTES)
		return;
	if (bpf_skb_load_bytes(ctx, 0, event->packet, length) == 0)
		event->capture_length = (__u16)length;
}

/* Reserves a record and fills what every kind has. NULL when the kind is off or the ring is full. */
static __always_inline struct event *event_begin(struct __sk_buff *ctx, const struct judgement *judgement,
						 __u8 kind)
{
	struct event *event;

	if (!event_wanted(kind))
		return NULL;
	event = bpf_ringbuf_reserve(&MAP_EVENTS, sizeof(*event), 0);
	if (!event) {
		event_count_lost();
		return NULL;
	}
	__builtin_memset(event, 0, __builtin_offsetof(struct event, packet));
	event->kind = kind;
	event->version = LIMIT_EVENT_VERSION;
	event->direction = judgement->direction;
	event->source = judgement_owner(judgement, judgement->owner, judgement->direction)->id;
	event->destination = judgement->destination.id;
	event->length = ctx->len;
	event->hash = bpf_get_hash_recalc(ctx);
	event->source_identity = judgement->source.identity;
	event->destination_identity = judgement->destination.identity;
	event->ifindex = ctx->ifindex;
	event->monotonic_ns = bpf_ktime_get_ns();
	event->destination_port = bpf_ntohs(judgement->flow.policy_port);
	event->cpu = (__u16)bpf_get_smp_processor_id();
	event->ct_state = judgement->state;
	event->protocol = judgement->flow.protocol;
	event->hook = judgement->hook;
	event_capture(ctx, event);
	return event;
}

SUBPROGRAM int trace_drop(struct __sk_buff *ctx, const struct judgement *judgement, __u32 reason)
{
	struct event *event;

	if (!judgement)
		return 0;
	event = event_begin(ctx, judgement, EVENT_DROP);
	if (!event)
		return 0;
	event->subtype = (__u8)reason;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SUBPROGRAM int trace_forward(struct __sk_buff *ctx, const struct judgement *judgement, __u32 point)
{
	struct event *event;

	if (!judgement)
		return 0;
	event = event_begin(ctx, judgement, EVENT_TRACE);
	if (!event)
		return 0;
	event->subtype = (__u8)point;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SUBPROGRAM int trace_policy(struct __sk_buff *ctx, const struct judgement *judgement,
			    const struct policy_request *request, int verdict, bool audited)
{
	struct event *event;

	if (!judgement || !request)
		return 0;
	event = event_begin(ctx, judgement, EVENT_POLICY_VERDICT);
	if (!event)
		return 0;
	event->direction = request->direction;
	event->source = judgement_owner(judgement, request->slot, request->direction)->id;
	event->remote_identity = request->identity;
	event->subtype = audited;
	event->verdict = verdict;
	event->rule_id = request->rule_id;
	event->match = request->match;
	event->destination_port = bpf_ntohs(request->port);
	event->proxy_port = bpf_ntohs(request->proxy_port);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

#endif
