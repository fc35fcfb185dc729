// SPDX-License-Identifier: Apache-2.0
/*
 * Answers IPv4 echo requests wrongly on purpose, for tests. Mode by the low byte of the asked address:
 * 1 honest, 2 twice, 3 payload cut to 30 bytes, 4 a bit of the MAC flipped, 5 checksum wrong, 6 from the
 * other address, 7 pairs in reverse order, 8 after 30 ms, 9 filling changed, 10 cut inside the cookie, 11
 * never, 12 with an error that quotes 8 bytes of the probe, 13 with one that quotes them as sent elsewhere.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t held[2048];
static int held_bytes;

static void fix_sum(uint8_t *icmp, int bytes)
{
	uint32_t sum = 0;

	icmp[2] = icmp[3] = 0;
	for (int i = 0; i < bytes; i += 2)
		sum += (uint32_t)icmp[i] << 8 | (i + 1 < bytes ? icmp[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum;
	icmp[2] = (uint8_t)(sum >> 8);
	icmp[3] = (uint8_t)sum;
}

static void reply(struct in_addr from, struct in_addr to, const uint8_t *icmp, int bytes)
{
	struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr = from};
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr = to};
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

	bind(fd, (struct sockaddr *)&source, sizeof(source));
	sendto(fd, icmp, (size_t)bytes, 0, (struct sockaddr *)&peer, sizeof(peer));
	close(fd);
}

/* Host unreachable, with a bare IP header and 8 bytes of `icmp` behind it (RFC 792). */
static void refuse(struct in_addr asked, struct in_addr quoted, struct in_addr asker, const uint8_t *icmp)
{
	uint8_t error[8 + 20 + 8] = {3, 1};
	uint8_t *ip = error + 8;

	ip[0] = 0x45;
	ip[3] = 20 + 8;
	ip[8] = 64;
	ip[9] = IPPROTO_ICMP;
	memcpy(ip + 12, &asker, 4);
	memcpy(ip + 16, &quoted, 4);
	memcpy(ip + 20, icmp, 8);
	fix_sum(error, sizeof(error));
	reply(asked, asker, error, sizeof(error));
}

static void answer(struct in_addr asked, struct in_addr asker, uint8_t *icmp, int bytes)
{
	int mode = (int)(ntohl(asked.s_addr) & 0xff);

	if (mode == 12 || mode == 13) {
		struct in_addr quoted = {mode == 12 ? asked.s_addr : htonl(ntohl(asked.s_addr) + 1)};

		refuse(asked, quoted, asker, icmp);
		return;
	}
	icmp[0] = 0;
	if (mode == 3)
		bytes = 8 + 30;
	if (mode == 10)
		bytes = 8 + 12;
	if (mode == 4)
		icmp[8 + 16] ^= 1;
	if (mode == 9)
		icmp[8 + 40] ^= 1;
	if (mode == 6)
		asked.s_addr = htonl((ntohl(asked.s_addr) & ~0xffu) | 1);
	if (mode == 8)
		usleep(30000);
	fix_sum(icmp, bytes);
	if (mode == 5)
		icmp[2] ^= 0x55;
	if (mode == 11)
		return;
	if (mode == 7 && !held_bytes) {
		memcpy(held, icmp, (size_t)bytes);
		held_bytes = bytes;
		return;
	}
	reply(asked, asker, icmp, bytes);
	if (mode == 2)
		reply(asked, asker, icmp, bytes);
	if (mode == 7) {
		reply(asked, asker, held, held_bytes);
		held_bytes = 0;
	}
}

int main(void)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	uint8_t packet[4096];

	if (fd < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		ssize_t got = recv(fd, packet, sizeof(packet), 0);
		int header = (packet[0] & 15) * 4;
		struct in_addr asker, asked;

		if (got < header + 8 || packet[header] != 8)
			continue;
		memcpy(&asker, packet + 12, 4);
		memcpy(&asked, packet + 16, 4);
		answer(asked, asker, packet + header, (int)got - header);
	}
}
