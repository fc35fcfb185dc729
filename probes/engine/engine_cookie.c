// SPDX-License-Identifier: Apache-2.0
/* The bytes of a probe: an ICMP echo request, or a UDP datagram to the echo responder, with a cookie. */
#include "engine.h"

#include <arpa/inet.h>
#include <string.h>

#define ECHO_REQUEST_V4 8
#define ECHO_REQUEST_V6 128
#define HEADER_BYTES	8 /* of ICMP echo, and of UDP */

struct sip_state {
	uint64_t v0, v1, v2, v3;
};

static uint64_t rotate_left(uint64_t value, int bits)
{
	return (value << bits) | (value >> (64 - bits));
}

static void sip_round(struct sip_state *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

/* SipHash-2-4 of whole 64-bit words (Aumasson and Bernstein 2012, section 2). */
static uint64_t siphash(const uint64_t key[2], const uint64_t *words, int count)
{
	struct sip_state s = {
		.v0 = key[0] ^ 0x736f6d6570736575ull,
		.v1 = key[1] ^ 0x646f72616e646f6dull,
		.v2 = key[0] ^ 0x6c7967656e657261ull,
		.v3 = key[1] ^ 0x7465646279746573ull,
	};
	uint64_t last = (uint64_t)(count * 8) << 56;

	for (int i = 0; i <= count; i++) {
		uint64_t word = i < count ? words[i] : last;

		s.v3 ^= word;
		sip_round(&s);
		sip_round(&s);
		s.v0 ^= word;
	}
	s.v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* Of the path, the sequence and the address that must answer. Never 0, which marks an empty place. */
uint64_t engine_nonce(const struct engine *engine, uint32_t path, uint32_t sequence, const uint8_t *address)
{
	uint64_t words[3] = {(uint64_t)path << 32 | sequence, 0, 0};
	uint64_t nonce;

	memcpy(&words[1], address, 16);
	nonce = siphash(engine->key, words, 3);
	return nonce ? nonce : 1;
}

/* RFC 1071 §1: the ones' complement sum of 16-bit words, in the order they lie in memory. */
uint16_t engine_checksum(const uint8_t *bytes, uint32_t length)
{
	uint64_t sum = 0;
	uint32_t i = 0;

	for (; i + 4 <= length; i += 4) {
		uint32_t word;

		memcpy(&word, bytes + i, 4);
		sum += word;
	}
	if (i < length) {
		uint8_t tail[4] = {0};
		uint32_t word;

		memcpy(tail, bytes + i, length - i);
		memcpy(&word, tail, 4);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
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
		packet[0] = path->family == 4 ? ECHO_REQUEST_V4 : ECHO_REQUEST_V6;
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
		store16(packet + 2, engine_checksum(packet, plan->length));
}
