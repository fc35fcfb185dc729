/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every part uses: types, verdicts, numbers that the kernel's headers of Debian 12 lack. */
#ifndef CILIATE_COMMON_H
#define CILIATE_COMMON_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "constants_gen.h"

#ifndef likely
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

/* sparse lets a value change its byte order only where this stands. */
#ifdef __CHECKER__
#define __force __attribute__((force))
#else
#define __force
#endif

/* A value in network order as the bits it is: for sorting, checksums and helpers that take any number. */
#define be16_bits(x) ((__force __u16)(x))
#define be32_bits(x) ((__force __u32)(x))

/* What `protocol` of a __sk_buff can be: network order in a plain number. */
#define CTX_ARP	   ((__force __u32)bpf_htons(ETH_P_ARP))
#define CTX_8021Q  ((__force __u32)bpf_htons(ETH_P_8021Q))
#define CTX_8021AD ((__force __u32)bpf_htons(ETH_P_8021AD))
#define CTX_IPV4   ((__force __u32)bpf_htons(ETH_P_IP))
#define CTX_IPV6   ((__force __u32)bpf_htons(ETH_P_IPV6))

/*
 * A global function: the verifier judges it once, by its signature, and not again on every path that calls
 * it. Its pointers may be NULL as far as the verifier knows.
 */
#define SUBPROGRAM __attribute__((noinline))

/* Not ours: the next program of the chain decides. */
#define VERDICT_NEXT (-1)
#define VERDICT_PASS TC_ACT_OK
#define VERDICT_DROP TC_ACT_SHOT

/* An address in network order; IPv4 takes the first four bytes, the rest is zero. */
union address {
	__u8 bytes[16];
	__be32 word[4];
	__u64 half[2];
};

static __always_inline bool address_equal(const union address *x, const union address *y)
{
	return x->half[0] == y->half[0] && x->half[1] == y->half[1];
}

static __always_inline void mac_copy(__u8 *to, const __u8 *from)
{
	*(__u32 *)to = *(const __u32 *)from;
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
}

static __always_inline bool mac_equal(const __u8 *x, const __u8 *y)
{
	return *(const __u32 *)x == *(const __u32 *)y && *(const __u16 *)(x + 4) == *(const __u16 *)(y + 4);
}

#endif
