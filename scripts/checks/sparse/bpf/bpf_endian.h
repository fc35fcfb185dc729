/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stands in for libbpf's header of this name when sparse reads our programs: libbpf's conversions carry no
 * types, so every use of them would be reported. Only the types matter here, not the values.
 */
#ifndef __BPF_ENDIAN__
#define __BPF_ENDIAN__

#define bpf_htons(x)	   ((__attribute__((force)) __be16)(__u16)(x))
#define bpf_htonl(x)	   ((__attribute__((force)) __be32)(__u32)(x))
#define bpf_cpu_to_be64(x) ((__attribute__((force)) __be64)(__u64)(x))
static inline __u16 bpf_ntohs(__be16 x)
{
	return (__attribute__((force)) __u16)x;
}
static inline __u32 bpf_ntohl(__be32 x)
{
	return (__attribute__((force)) __u32)x;
}
static inline __u64 bpf_be64_to_cpu(__be64 x)
{
	return (__attribute__((force)) __u64)x;
}

#endif
