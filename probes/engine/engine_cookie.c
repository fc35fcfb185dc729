// SPDX-License-Identifier: Apache-2.0
/* The bytes of a probe: an ICMP echo request, or a UDP datagram to the echo responder, with a cookie. */
#include "engine.h"

#include <arpa/inet.h>
#include <string.h>

#define HEADER_BYTES 8 /* of ICMP echo, and of UDP */

/* Of the path, the sequence and the address that must answer. Never 0, which marks an empty place. */
uint64_t engine_nonce(const struct engine *engine, uint32_t path, uint32_t sequence, const uint8_t *address)
{
	uint64_t words[3] = {(uint64_t)path << 32 | sequence, 0, 0};
	uint64_t nonce;

	memcpy(&words[1], address, 16);
	nonce = probe_siphash(engine->key, words, 3);
	return nonce ? nonce : 1;
}

/* Bytes of the smallest IP packet that holds a cookie. */
uint32_t engine_packet_least(int family)
{
	return (family == 4 ? 20u : 40u) + HEADER_BYTES + (uint32_t)sizeof(struct probe_cookie);
}

static void store16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, 2);
}

static void build_header(const struct path_state *path, const struct packet_plan *plan, uint8_t *packet)
{
	memset(packet, 0, HEADER_BYTES);
	if (path->responder == RESPONDER_ICMP) {
		packet[0] = path->family == 4 ? ICMP_ECHO_REQUEST_V4 : ICMP_ECHO_REQUEST_V6;
		store16(packet + 4, plan->socket->id);
		store16(packet + 6, htons((uint16_t)plan->sequence));
		return;
	}
	store16(packet, plan->source_port);
	store16(packet + 2, htons(PROBE_PORT));
	store16(packet + 4, htons((uint16_t)plan->length));
	/* The sum stays 0: none over IPv4 (RFC 768), the kernel's over IPv6 (IPV6_CHECKSUM). */
}

/* `packet` has room for `plan->length` bytes; without a UDP header it begins at the cookie. */
void engine_build(const struct engine *engine, const struct path_state *path, const struct packet_plan *plan,
		  uint8_t *packet)
{
	struct probe_cookie cookie = {
		.magic = htonl(PROBE_MAGIC),
		.version = 1,
		.flags = (path->responder == RESPONDER_ECHO ? PROBE_WANTS_ECHO : 0) |
			 (plan->by_thread ? PROBE_BY_THREAD : 0),
		.prober = htonl((uint32_t)engine->options[OPTION_PROBER]),
		.path = htonl(plan->path),
		.sequence = htonl(plan->sequence),
		.nonce = plan->nonce,
	};
	uint32_t header = plan->with_udp_header || path->responder == RESPONDER_ICMP ? HEADER_BYTES : 0;

	if (header)
		build_header(path, plan, packet);
	memcpy(packet + header, &cookie, sizeof(cookie));
	memset(packet + header + sizeof(cookie), 0, plan->length - header - sizeof(cookie));
	/* The kernel sums ICMPv6 and what a datagram socket sends. */
	if (path->responder == RESPONDER_ICMP && path->family == 4)
		store16(packet + 2, probe_checksum(packet, plan->length));
}
