// SPDX-License-Identifier: Apache-2.0
#include "packet.h"

#include <string.h>

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

uint64_t probe_siphash(const uint64_t key[2], const uint64_t *words, int count)
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

uint16_t probe_checksum(const uint8_t *bytes, uint32_t length)
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
