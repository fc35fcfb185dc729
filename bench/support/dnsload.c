/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server that answers every query with one address, and clients that ask it, each as soon as it has
 * its answer and from a new port each time, as stub resolvers do.
 *
 * dnsload server IPV4...
 * dnsload client IPV4 CLIENTS QUERIES     prints: queries/s, p50 and p99 in microseconds, and how many were
 * lost
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SOCKETS 64
#define LOST_MS	    1000

static const uint8_t question[] = {3, 'w', 'w', 'w', 1, 'x', 2, 'i', 'o', 0, 0, 1, 0, 1};
static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		errx(2, "%s is no address", text);
	return address;
}

static int udp_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(4, "socket");
	return fd;
}

static void answer(int fd)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	uint8_t message[512];
	ssize_t size = recvfrom(fd, message, sizeof(message) - sizeof(record), MSG_DONTWAIT,
				(struct sockaddr *)&from, &length);

	if (size < 12)
		return;
	message[2] |= 0x80;
	message[7] = 1;
	memcpy(message + size, record, sizeof(record));
	sendto(fd, message, size + sizeof(record), 0, (struct sockaddr *)&from, length);
}

static void serve(int count, char **texts)
{
	struct pollfd polls[MAX_SOCKETS];

	for (int i = 0; i < count; i++) {
		struct sockaddr_in address = address_of(texts[i]);

		polls[i] = (struct pollfd){.fd = udp_socket(), .events = POLLIN};
		if (bind(polls[i].fd, (struct sockaddr *)&address, sizeof(address)))
			err(4, "bind %s", texts[i]);
	}
	puts("ready");
	fflush(stdout);
	while (poll(polls, count, -1) >= 0)
		for (int i = 0; i < count; i++)
			if (polls[i].revents)
				answer(polls[i].fd);
}

static void ask(struct pollfd *slot, const struct sockaddr_in *server, double *asked)
{
	static uint16_t id;
	uint8_t message[12 + sizeof(question)] = {++id >> 8, id & 0xff, 1, 0, 0, 1};

	memcpy(message + 12, question, sizeof(question));
	if (slot->fd >= 0)
		close(slot->fd);
	*slot = (struct pollfd){.fd = udp_socket(), .events = POLLIN};
	*asked = now_us();
	if (connect(slot->fd, (const void *)server, sizeof(*server)) ||
	    send(slot->fd, message, sizeof(message), 0) < 0)
		err(4, "ask");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void load(const char *text, int clients, int queries)
{
	struct sockaddr_in server = address_of(text);
	double *latencies = calloc(queries, sizeof(*latencies)), asked[MAX_SOCKETS], start = now_us();
	struct pollfd slots[MAX_SOCKETS];
	uint8_t message[512];
	int done = 0, lost = 0;

	for (int i = 0; i < clients; i++) {
		slots[i].fd = -1;
		ask(&slots[i], &server, &asked[i]);
	}
	while (done < queries) {
		poll(slots, clients, 100);
		for (int i = 0; i < clients && done < queries; i++) {
			double passed = now_us() - asked[i];

			if (slots[i].revents & POLLIN && recv(slots[i].fd, message, sizeof(message), 0) > 12)
				latencies[done++] = passed;
			else if (passed > LOST_MS * 1000.0)
				lost++;
			else
				continue;
			ask(&slots[i], &server, &asked[i]);
		}
		if (lost > queries)
			errx(4, "no answers");
	}
	start = now_us() - start;
	qsort(latencies, queries, sizeof(*latencies), compare);
	printf("%.0f %.1f %.1f %d\n", queries / (start / 1e6), latencies[queries / 2],
	       latencies[queries * 99 / 100], lost);
}

int main(int argc, char **argv)
{
	if (argc > 2 && argc - 2 <= MAX_SOCKETS && !strcmp(argv[1], "server"))
		serve(argc - 2, argv + 2);
	else if (argc == 5 && !strcmp(argv[1], "client") && atoi(argv[3]) > 0 &&
		 atoi(argv[3]) <= MAX_SOCKETS && atoi(argv[4]) > 0)
		load(argv[2], atoi(argv[3]), atoi(argv[4]));
	else
		errx(2, "dnsload server IPV4... | client IPV4 CLIENTS QUERIES");
	return 0;
}
