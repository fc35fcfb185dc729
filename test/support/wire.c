// SPDX-License-Identifier: Apache-2.0
/*
 * Frames of a test on a device of the namespace that it is started in: `wire DEVICE`. Each line of standard
 * input, `HEX [COUNT OFFSET]`, is sent COUNT times (once), with the 32 bits at OFFSET counted up each time,
 * and answered with `sent N` or `error N` (errno). Each frame that comes in is printed as `got HEX`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FRAME 2048

static int send_line(int fd, char *line)
{
	uint8_t frame[MAX_FRAME];
	size_t bytes = 0, offset = 0;
	unsigned long count = 1;
	uint32_t value;
	char *rest;

	for (rest = line; bytes < MAX_FRAME && sscanf(rest, "%2hhx", &frame[bytes]) == 1 && *rest != ' ';
	     rest += 2)
		bytes++;
	sscanf(rest, "%lu %zu", &count, &offset);
	if (count > 1 && offset + sizeof(value) > bytes)
		return -EINVAL;
	for (unsigned long i = 0; i < count; i++) {
		if (count > 1) {
			memcpy(&value, frame + offset, sizeof(value));
			value = htonl(ntohl(value) + 1);
			memcpy(frame + offset, &value, sizeof(value));
		}
		if (send(fd, frame, bytes, 0) < 0 && errno != ENOBUFS)
			return -errno;
	}
	return (int)count;
}

static void print_frame(int fd)
{
	struct sockaddr_ll from;
	socklen_t size = sizeof(from);
	uint8_t frame[MAX_FRAME];
	ssize_t bytes = recvfrom(fd, frame, sizeof(frame), MSG_TRUNC, (struct sockaddr *)&from, &size);

	if (bytes < 0 || from.sll_pkttype == PACKET_OUTGOING)
		return;
	printf("got ");
	for (ssize_t i = 0; i < bytes && i < MAX_FRAME; i++)
		printf("%02x", frame[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	struct sockaddr_ll device = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	static char line[2 * MAX_FRAME + 64];
	size_t held = 0;

	device.sll_ifindex = argc == 2 ? (int)if_nametoindex(argv[1]) : 0;
	if (fd < 0 || device.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&device, sizeof(device)) < 0) {
		perror("wire");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	for (;;) {
		struct pollfd ready[] = {{.fd = fd, .events = POLLIN},
					 {.fd = STDIN_FILENO, .events = POLLIN}};
		char *end;

		poll(ready, 2, -1);
		if (ready[0].revents & POLLIN)
			print_frame(fd);
		if (!(ready[1].revents & (POLLIN | POLLHUP)))
			continue;
		ssize_t more = read(STDIN_FILENO, line + held, sizeof(line) - 1 - held);

		if (more <= 0)
			return 0;
		held += (size_t)more;
		line[held] = 0;
		while ((end = strchr(line, '\n')) != NULL) {
			*end = 0;
			int sent = send_line(fd, line);

			printf(sent < 0 ? "error %d\n" : "sent %d\n", sent < 0 ? -sent : sent);
			held -= (size_t)(end + 1 - line);
			memmove(line, end + 1, held + 1);
		}
	}
}
