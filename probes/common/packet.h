/* SPDX-License-Identifier: Apache-2.0 */
/* What probes of every kind are built and told apart with. */
#ifndef CILIATE_PROBE_PACKET_H
#define CILIATE_PROBE_PACKET_H

#include <stdint.h>

#define PROBE_KEY_BYTES	     16
#define ICMP_ECHO_REQUEST_V4 8
#define ICMP_ECHO_REPLY_V4   0
#define ICMP_ECHO_REQUEST_V6 128
#define ICMP_ECHO_REPLY_V6   129

/* SipHash-2-4 of whole 64-bit words (Aumasson and Bernstein 2012, section 2). */
uint64_t probe_siphash(const uint64_t key[2], const uint64_t *words, int count);

/* RFC 1071 §1: the ones' complement sum of 16-bit words, in the order they lie in memory. */
uint16_t probe_checksum(const uint8_t *bytes, uint32_t length);

#endif
