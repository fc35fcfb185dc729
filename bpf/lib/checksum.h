/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checksums of headers that programs write (RFC 1071). */
#ifndef CILIATE_CHECKSUM_H
#define CILIATE_CHECKSUM_H

#include "common.h"

/* The checksum of a header that sums up to `sum` without it. */
static __always_inline __be16 checksum_of(__s64 sum)
{
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__force __be16)~sum;
}

#endif
