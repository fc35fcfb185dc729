/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finding and keeping entries of conntrack. */
#ifndef CILIATE_CONNTRACK_H
#define CILIATE_CONNTRACK_H

#include "common.h"
#include "config_maps.h"
#include "conntrack_maps.h"
#include "endpoint_maps.h"
#include "parse.h"

#define CTF_CLOSING (CTF_CLOSING_A | CTF_CLOSING_B)
#define CTF_PROXY   (CTF_PROXY_A | CTF_PROXY_B)
/* Entries that need more than forwarding. */
#define CTF_SLOW (CTF_CLOSING | CTF_PROXY | CTF_NAT | CTF_TUNNEL)

static __always_inline __u32 ct_now(void)
{
	return (__u32)(bpf_jiffies64() >> LIMIT_JIFFIES_SHIFT);
}

/* Whether the epochs of two slots are still these. */
static __always_inline bool epochs_hold(__u32 slot_a, __u32 epoch_a, __u32 slot_b, __u32 epoch_b)
{
	__u32 *a, *b;

	a = bpf_map_lookup_elem(&MAP_EPOCHS, &slot_a);
	if (!a)
		return false;
	b = bpf_map_lookup_elem(&MAP_EPOCHS, &slot_b);
	if (!b)
		return false;
	return *a == epoch_a && *b == epoch_b;
}

/* Whether the epochs under which the verdict was made still hold on both sides. */
static __always_inline bool ct_fresh(const struct ct_entry *entry)
{
	return epochs_hold(entry->slot[0], entry->epoch[0], entry->slot[1], entry->epoch[1]);
}

static __always_inline bool ct_expired(const struct ct_entry *entry, __u32 now)
{
	return (__s32)(now - entry->seen) > (__s32)entry->lifetime;
}

/* Notes that the flow lives; false: it does not any more. */
static __always_inline bool ct_see(struct ct_entry *entry)
{
	__u32 now = ct_now();

	if (entry->seen == now)
		return true;
	if (ct_expired(entry, now))
		return false;
	entry->seen = now;
	return true;
}

/* Fills the canonical key. Returns the side of the packet's source: 0 is a, 1 is b. */
static __always_inline __u32 ct4_key_fill(struct ct4_key *key, __be32 source, __be32 destination,
					  __be16 source_port, __be16 destination_port, __u8 protocol)
{
	bool swap = be32_bits(source) > be32_bits(destination) ||
		    (source == destination && be16_bits(source_port) > be16_bits(destination_port));

	key->address[0] = swap ? destination : source;
	key->address[1] = swap ? source : destination;
	key->port[0] = swap ? destination_port : source_port;
	key->port[1] = swap ? source_port : destination_port;
	key->protocol = protocol;
	key->zone = 0;
	key->pad = 0;
	return swap;
}

static __always_inline bool ct6_swapped(const union address *source, const union address *destination,
					__be16 source_port, __be16 destination_port)
{
	if (source->half[0] != destination->half[0])
		return source->half[0] > destination->half[0];
	if (source->half[1] != destination->half[1])
		return source->half[1] > destination->half[1];
	return be16_bits(source_port) > be16_bits(destination_port);
}

static __always_inline __u32 ct6_key_fill(struct ct6_key *key, const union address *source,
					  const union address *destination, __be16 source_port,
					  __be16 destination_port, __u8 protocol)
{
	bool swap = ct6_swapped(source, destination, source_port, destination_port);

	key->address[0] = swap ? *destination : *source;
	key->address[1] = swap ? *source : *destination;
	key->port[0] = swap ? destination_port : source_port;
	key->port[1] = swap ? source_port : destination_port;
	key->protocol = protocol;
	key->zone = 0;
	key->pad = 0;
	return swap;
}

/* A tuple of either family, as the slow path carries it. */
struct ct_tuple {
	union {
		struct ct4_key v4;
		struct ct6_key v6;
	};
	__u32 side; /* of the packet's source */
	__u8 is_v6;
	__u8 pad[3];
};

static __always_inline void ct_tuple_fill(struct ct_tuple *tuple, const struct flow *flow)
{
	tuple->is_v6 = flow->v6;
	if (flow->v6)
		tuple->side = ct6_key_fill(&tuple->v6, &flow->source, &flow->destination, flow->source_port,
					   flow->destination_port, flow->protocol);
	else
		tuple->side = ct4_key_fill(&tuple->v4, flow->source.word[0], flow->destination.word[0],
					   flow->source_port, flow->destination_port, flow->protocol);
}

static __always_inline struct ct_entry *ct_lookup(const struct ct_tuple *tuple)
{
	if (tuple->is_v6)
		return bpf_map_lookup_elem(&MAP_CT6, &tuple->v6);
	return bpf_map_lookup_elem(&MAP_CT4, &tuple->v4);
}

static __always_inline long ct_update(const struct ct_tuple *tuple, const struct ct_entry *entry)
{
	if (tuple->is_v6)
		return bpf_map_update_elem(&MAP_CT6, &tuple->v6, entry, BPF_ANY);
	return bpf_map_update_elem(&MAP_CT4, &tuple->v4, entry, BPF_ANY);
}

static __always_inline bool tcp_pure_syn(__u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Lifetime that an entry of this state deserves. */
static __always_inline __u32 ct_lifetime(__u8 protocol, __u16 flags, const struct config *config)
{
	if (protocol != IPPROTO_TCP)
		return config->lifetime_any;
	if ((flags & CTF_CLOSING) == CTF_CLOSING)
		return config->lifetime_tcp_close;
	return flags & CTF_ESTABLISHED ? config->lifetime_tcp : config->lifetime_tcp_syn;
}

/*
 * Adds what this packet says to the state of its flow. `side` is that of its source. Of a proxied flow only
 * the ends themselves say that they send no more: their words come late on the proxy's other leg, when the
 * ports may be in use again.
 */
static __always_inline __u16 ct_advance(__u16 flags, const struct flow *flow, __u32 side, bool from_proxy)
{
	__u32 initiator = flags & CTF_INIT_B ? 1 : 0;

	if (side != initiator)
		flags |= CTF_SEEN_REPLY;
	if (flow->protocol != IPPROTO_TCP) {
		flags |= CTF_ESTABLISHED;
		return flags;
	}
	if (!(flow->tcp_flags & TCP_SYN))
		flags |= CTF_ESTABLISHED;
	if (flow->tcp_flags & TCP_RST)
		flags |= CTF_CLOSING;
	else if (flow->tcp_flags & TCP_FIN && !from_proxy)
		flags |= side ? CTF_CLOSING_B : CTF_CLOSING_A;
	return flags;
}

#endif
