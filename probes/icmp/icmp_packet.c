// SPDX-License-Identifier: Apache-2.0
/*
 * The bytes of a probe. Payload: magic, path, sequence, zero, MAC, padding. The MAC (SipHash-2-4 under a key
 * of this socket) covers path, sequence and the address that must answer, so that a reply counts only if it
 * is ours, whole, and from the address that was asked. No time travels in the packet: a peer could change it.
 */
#include "icmp.h"

#include <arpa/inet.h>
#include <string.h>

#define MAC_OFFSET 16
#define MAC_WORDS  3

static uint64_t cookie_mac(const struct icmp_socket *sock, uint32_t path, uint32_t sequence,
			   const void *address)
{
	uint64_t words[MAC_WORDS] = {(uint64_t)path << 32 | sequence, 0, 0};

	memcpy(&words[1], address, sock->family == 4 ? 4 : 16);
	return probe_siphash(sock->key, words, MAC_WORDS);
}

static uint32_t load32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return ntohl(value);
}

static void store32(uint8_t *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, 4);
}

void icmp_template(const struct icmp_socket *sock, uint8_t *packet)
{
	memset(packet, 0, sock->packet_bytes);
	packet[0] = sock->family == 4 ? ICMP_ECHO_REQUEST_V4 : ICMP_ECHO_REQUEST_V6;
	memcpy(packet + 4, &sock->id, 2);
	store32(packet + ICMP_HEADER_BYTES, ICMP_MAGIC);
	for (uint32_t i = ICMP_COOKIE_BYTES; i < sock->payload_bytes; i++)
		packet[ICMP_HEADER_BYTES + i] = (uint8_t)i;
}

void icmp_fill(const struct icmp_socket *sock, uint8_t *packet, const struct icmp_send_record *record)
{
	uint8_t *payload = packet + ICMP_HEADER_BYTES;
	uint64_t mac = cookie_mac(sock, record->path, record->sequence, record->address);
	uint16_t sequence = htons((uint16_t)record->sequence);
	uint16_t sum = 0;

	memcpy(packet + 2, &sum, 2);
	memcpy(packet + 6, &sequence, 2);
	store32(payload + 4, record->path);
	store32(payload + 8, record->sequence);
	memcpy(payload + MAC_OFFSET, &mac, sizeof(mac));
	if (sock->family == 6)
		return; /* the kernel sums over the pseudo-header */
	sum = probe_checksum(packet, sock->packet_bytes);
	memcpy(packet + 2, &sum, 2);
}

static bool cookie_is_ours(const struct icmp_socket *sock, const struct icmp_origin *origin)
{
	const uint8_t *payload = origin->packet + ICMP_HEADER_BYTES;
	uint64_t mac;

	if (!origin->address || origin->length < ICMP_HEADER_BYTES + ICMP_COOKIE_BYTES ||
	    load32(payload) != ICMP_MAGIC)
		return false;
	memcpy(&mac, payload + MAC_OFFSET, sizeof(mac));
	return mac == cookie_mac(sock, load32(payload + 4), load32(payload + 8), origin->address);
}

void icmp_classify(const struct icmp_socket *sock, const struct icmp_origin *origin,
		   struct icmp_reply_record *reply)
{
	const uint8_t *payload = origin->packet + ICMP_HEADER_BYTES;
	const uint8_t *sent = sock->send_buffer + ICMP_HEADER_BYTES;
	uint8_t type = sock->family == 4 ? ICMP_ECHO_REPLY_V4 : ICMP_ECHO_REPLY_V6;

	reply->path = 0;
	reply->sequence = 0;
	reply->length = origin->length < ICMP_HEADER_BYTES ? 0 : origin->length - ICMP_HEADER_BYTES;
	if (origin->length < ICMP_HEADER_BYTES || origin->packet[0] != type || origin->packet[1] != 0) {
		reply->class = REPLY_FOREIGN;
		return;
	}
	/* A raw IPv4 socket sees packets before the kernel has checked their sum. */
	if (sock->family == 4 && sock->kind == KIND_RAW &&
	    probe_checksum(origin->packet, origin->length) != 0) {
		reply->class = REPLY_CORRUPT;
		return;
	}
	if (origin->length < ICMP_HEADER_BYTES + ICMP_COOKIE_BYTES &&
	    origin->length >= ICMP_HEADER_BYTES + 4 && load32(payload) == ICMP_MAGIC) {
		reply->class = REPLY_CORRUPT; /* ours by its mark, cut before the MAC */
		return;
	}
	if (!cookie_is_ours(sock, origin)) {
		reply->class = REPLY_FOREIGN;
		return;
	}
	reply->path = load32(payload + 4);
	reply->sequence = load32(payload + 8);
	if (origin->length != sock->packet_bytes ||
	    memcmp(payload + ICMP_COOKIE_BYTES, sent + ICMP_COOKIE_BYTES,
		   sock->payload_bytes - ICMP_COOKIE_BYTES))
		reply->class = REPLY_CORRUPT;
	else
		reply->class = REPLY_GENUINE;
}

/*
 * Reads the probe that an ICMP error quotes. A router may quote as little as 8 bytes (RFC 792), which hold
 * the identifier and 16 bits of the sequence only: the caller compares where the probe of that sequence went
 * with where the quoted packet did. Returns whether the quoted packet is, or may be, a probe of this socket.
 */
bool icmp_quoted(const struct icmp_socket *sock, const struct icmp_origin *origin,
		 struct icmp_notice_record *notice)
{
	uint16_t sequence;

	if (!origin->address || origin->length < ICMP_HEADER_BYTES ||
	    memcmp(origin->packet + 4, &sock->id, 2) != 0)
		return false;
	if (cookie_is_ours(sock, origin)) {
		notice->kind = NOTICE_ERROR;
		notice->path = load32(origin->packet + ICMP_HEADER_BYTES + 4);
		notice->sequence = load32(origin->packet + ICMP_HEADER_BYTES + 8);
		return true;
	}
	if (origin->length >= ICMP_HEADER_BYTES + ICMP_COOKIE_BYTES)
		return false;
	memcpy(&sequence, origin->packet + 6, 2);
	notice->kind = NOTICE_SHORT_ERROR;
	notice->sequence = ntohs(sequence);
	return true;
}
