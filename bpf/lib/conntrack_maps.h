/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Flows that policy let through. A packet and its reply find the same entry: the tuple has a canonical order.
 */
#ifndef CILIATE_CONNTRACK_MAPS_H
#define CILIATE_CONNTRACK_MAPS_H

#include "common.h"

/* Side a is the smaller (address, port). Ports of ICMP: ICMP_PORT_* in parse.h. */
struct ct4_key {
	__be32 address[2];
	__be16 port[2];
	__u8 protocol;
	__u8 zone;
	__u16 pad;
};

struct ct6_key {
	union address address[2];
	__be16 port[2];
	__u8 protocol;
	__u8 zone;
	__u16 pad;
};

/* One cache line. Index 0 is side a, 1 is side b. */
struct ct_entry {
	__u32 seen;	   /* jiffies >> LIMIT_JIFFIES_SHIFT of about the last packet */
	__u32 lifetime;	   /* same unit */
	__u16 flags;	   /* CTF_* */
	__u8 tcp_flags[2]; /* seen from each side */
	__u32 epoch[2];	   /* under which the verdict was made */
	__u16 slot[2];	   /* 0: not local */
	__u32 ifindex[2];  /* host side of the veth of a local side, also where its packets must enter; else 0
			    */
	__u8 mac[2][8];	   /* of a local side */
	__u32 identity[2];
	__be16 proxy_port;
	__u16 reverse_nat;
	__be32 tunnel;
};

/* Tuple -> entry. Written by programs; user space removes what is past its lifetime. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ct4_key);
	__type(value, struct ct_entry);
} MAP_CT4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ct6_key);
	__type(value, struct ct_entry);
} MAP_CT6 SEC(".maps");

struct fragment_key {
	union address source;
	union address destination;
	__u32 id;
	__u8 protocol;
	__u8 family;
	__u16 pad;
};

struct fragment_entry {
	__be16 source_port;
	__be16 destination_port;
};

/* Datagram -> ports of its first fragment, for those that follow. Written and read by slow paths. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct fragment_entry);
} MAP_FRAGMENTS SEC(".maps");

#endif
