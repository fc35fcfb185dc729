/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells with a message: who sent it, when it came or left, and what an error is about. */
#ifndef CILIATE_PROBE_MESSAGE_H
#define CILIATE_PROBE_MESSAGE_H

#include <stdint.h>
#include <sys/socket.h>

struct sock_extended_err;

#define PROBE_IP_TTL_OFFSET 8 /* RFC 791 §3.1 */

/* Who sent a packet; of an error, where the quoted packet went. 4 or 16 bytes; NULL where the kernel does not
 * say. */
const void *probe_peer(const struct msghdr *header, int family);

/* The kernel's software stamp, CLOCK_REALTIME, ns; 0: the control message is none, or an empty one. */
int64_t probe_stamp_ns(struct cmsghdr *control);

/* 0: the control message is none. */
uint32_t probe_hop_limit(struct cmsghdr *control);

/* What an entry of the error queue is about; NULL: the control message does not say. */
const struct sock_extended_err *probe_error(struct cmsghdr *control);

/* Who sent an ICMP error. Returns the family and writes 4 or 16 bytes; 0, and writes nothing: our own kernel.
 */
int probe_offender(const struct sock_extended_err *error, uint8_t address[16]);

#endif
