/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Plain packets of flows to services, translated as the slow path has noted. */
#ifndef CILIATE_FAST_SERVICE_H
#define CILIATE_FAST_SERVICE_H

#include "common.h"
#include "fast_parse.h"
#include "fast_route.h"
#include "flow_cache.h"
#include "service_maps.h"
#include "service_rewrite.h"

/* Flags and offset of the transport checksum of a plain packet of TCP or UDP. */
static __always_inline __u32 fast_checksum_offset(__u32 l4_offset, __u8 protocol)
{
	return l4_offset + (protocol == IPPROTO_TCP ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
}

static __always_inline __u64 fast_checksum_flags(__u8 protocol)
{
	return protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

/*
 * Mends the transport checksum for another address, whose difference is `from` to `to`, and another port.
 * Only the helpers know whether somebody else still has to take it. False if they cannot.
 */
static __always_inline bool fast_checksum(struct __sk_buff *ctx, const struct flow_cache_answer *answer,
					  const struct flow_cache_end *becomes, __u32 l4_offset, __u64 from,
					  __u64 to, __u64 bytes)
{
	__be16 old = becomes->end == END_SOURCE ? answer->source_port : answer->destination_port;
	__u32 offset = fast_checksum_offset(l4_offset, answer->protocol);
	__u64 flags = fast_checksum_flags(answer->protocol);

	if (bpf_l4_csum_replace(ctx, offset, from, to, BPF_F_PSEUDO_HDR | flags | bytes) < 0)
		return false;
	return old == becomes->port ||
	       bpf_l4_csum_replace(ctx, offset, be16_bits(old), be16_bits(becomes->port), flags | 2) == 0;
}

/* Writes the port where that end of the packet has it. */
static __always_inline void fast_port(struct transport_ports *ports, const struct flow_cache_end *becomes)
{
	if (becomes->end == END_SOURCE)
		ports->source = becomes->port;
	else
		ports->destination = becomes->port;
}

/* RFC 1624: the header's checksum with one address in the place of another. */
static __always_inline void fast_header_checksum(struct iphdr *ip, __be32 old, __be32 new)
{
	__u32 sum = (__u16)~be16_bits(ip->check);

	sum += (__u16)~be32_bits(old) + (__u16) ~(be32_bits(old) >> 16);
	sum += (__u16)be32_bits(new) + (__u16)(be32_bits(new) >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = (__force __sum16)(__u16)~sum;
}

/* A packet of a flow to a service, as the slow path has noted it. One that is half translated goes nowhere.
 */
static __always_inline int fast_translated4(struct __sk_buff *ctx, const struct flow_cache4_entry *entry,
					    __u32 hook)
{
	bool source = entry->becomes.end == END_SOURCE;
	__be32 old = source ? entry->source : entry->destination, new = entry->address;
	struct fast_route route;
	void *data, *data_end;
	struct iphdr *ip;

	if (entry->service_epoch != service_epoch())
		return FAST_MISS;
	if (!fast_checksum(ctx, &entry->answer, &entry->becomes, ETH_HLEN + sizeof(*ip), be32_bits(old),
			   be32_bits(new), 4))
		return VERDICT_DROP;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ip = data + ETH_HLEN;
	if ((void *)(ip + 1) + sizeof(struct transport_ports) > data_end)
		return VERDICT_DROP;
	fast_header_checksum(ip, old, new);
	if (source)
		ip->saddr = new;
	else
		ip->daddr = new;
	fast_port((void *)(ip + 1), &entry->becomes);
	fast_route_noted(&route, &entry->answer);
	fast_age4(ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

static __always_inline int fast_translated6(struct __sk_buff *ctx, const struct flow_cache6_entry *entry,
					    __u32 hook)
{
	bool source = entry->becomes.end == END_SOURCE;
	union address old = source ? entry->source : entry->destination, new = entry->address;
	struct fast_route route;
	void *data, *data_end;
	struct ipv6hdr *ip;
	__s64 difference;

	if (entry->service_epoch != service_epoch())
		return FAST_MISS;
	difference = bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);
	if (difference < 0 || !fast_checksum(ctx, &entry->answer, &entry->becomes, ETH_HLEN + sizeof(*ip), 0,
					     (__u64)difference, 0))
		return VERDICT_DROP;
	rewrite_sum6(ctx, difference);
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ip = data + ETH_HLEN;
	if ((void *)(ip + 1) + sizeof(struct transport_ports) > data_end)
		return VERDICT_DROP;
	if (source)
		*(union address *)&ip->saddr = new;
	else
		*(union address *)&ip->daddr = new;
	fast_port((void *)(ip + 1), &entry->becomes);
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
