// SPDX-License-Identifier: Apache-2.0
/*
 * Datagrams from an address and port that are another's. A socket bound to the server's port would be found
 * for the client's next query before the listener is, so they leave through a raw socket that is bound to
 * nothing.
 */
#include "datagram.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/uio.h>

/* IPv4 control messages are the smaller ones. */
#define CONTROL_BYTES CMSG_SPACE(sizeof(struct in6_pktinfo))

/* Sum of 16-bit words in network order, RFC 1071; an odd last byte is followed by a zero. */
static uint32_t sum_words(uint32_t sum, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (length % 2)
		sum += (uint32_t)bytes[length - 1] << 8;
	return sum;
}

/* RFC 768: over the pseudo header, header and bytes; 0 is sent as all ones. A datagram's sum fits 32 bits. */
static uint16_t checksum(const struct datagram_flow *flow, const struct udphdr *udp, const uint8_t *bytes,
			 size_t length)
{
	uint32_t sum = IPPROTO_UDP + ntohs(udp->len);

	sum = sum_words(sum, flow->server, 4);
	sum = sum_words(sum, flow->client, 4);
	sum = sum_words(sum, (const uint8_t *)udp, sizeof(*udp));
	sum = sum_words(sum, bytes, length);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff ? 0xffff : (uint16_t)~sum;
}

static void set_source_v4(struct msghdr *header, const struct datagram_flow *flow)
{
	struct in_pktinfo source = {0};
	struct cmsghdr *control;

	memcpy(&source.ipi_spec_dst, flow->server, 4);
	header->msg_controllen = CMSG_SPACE(sizeof(source));
	control = CMSG_FIRSTHDR(header);
	control->cmsg_level = SOL_IP;
	control->cmsg_type = IP_PKTINFO;
	control->cmsg_len = CMSG_LEN(sizeof(source));
	memcpy(CMSG_DATA(control), &source, sizeof(source));
}

static void set_source_v6(struct msghdr *header, const struct datagram_flow *flow)
{
	struct in6_pktinfo source = {0};
	struct cmsghdr *control;

	memcpy(&source.ipi6_addr, flow->server, 16);
	header->msg_controllen = CMSG_SPACE(sizeof(source));
	control = CMSG_FIRSTHDR(header);
	control->cmsg_level = SOL_IPV6;
	control->cmsg_type = IPV6_PKTINFO;
	control->cmsg_len = CMSG_LEN(sizeof(source));
	memcpy(CMSG_DATA(control), &source, sizeof(source));
}

/* Sends from the flow's server to its client. `fd`: raw, of protocol UDP, transparent; IPv6 with its checksum
 * offset. */
int datagram_reply(int fd, const struct datagram_flow *flow, bool v6, const uint8_t *bytes, size_t length)
{
	uint8_t control[CONTROL_BYTES] __attribute__((aligned(8))) = {0};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
	struct sockaddr_in to4 = {.sin_family = AF_INET};
	struct udphdr udp = {.source = htons(flow->server_port), .dest = htons(flow->client_port)};
	struct iovec parts[2] = {{&udp, sizeof(udp)}, {(void *)bytes, length}};
	struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = control};

	if (length > UINT16_MAX - sizeof(udp))
		return -EMSGSIZE;
	udp.len = htons(sizeof(udp) + length);
	if (v6) {
		memcpy(&to6.sin6_addr, flow->client, 16);
		header.msg_name = &to6;
		header.msg_namelen = sizeof(to6);
		set_source_v6(&header, flow);
	} else {
		memcpy(&to4.sin_addr, flow->client, 4);
		header.msg_name = &to4;
		header.msg_namelen = sizeof(to4);
		set_source_v4(&header, flow);
		udp.check = htons(checksum(flow, &udp, bytes, length));
	}
	return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
