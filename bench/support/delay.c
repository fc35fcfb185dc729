/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wire that takes time, for kernels without netem: every frame that comes in by one of two devices leaves
 * by the other one so many microseconds later, in order, and is not changed; checksums that the sender left
 * to its device go along (the header of PACKET_VNET_HDR). Prints "ready", ends when its standard input does.
 *
 * delay NETNS DEVICE DEVICE MICROSECONDS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX  9300
#define FRAMES	   4096 /* under way in one direction; a power of 2 */
#define BUFFER	   (16 << 20)
#define NS_PER_S   1000000000ll
#define FOREVER_NS (10 * NS_PER_S)

struct frame {
	int64_t due_ns;
	ssize_t length;
	uint8_t bytes[FRAME_MAX];
};

struct direction {
	int from, to;
	uint32_t head, tail;
	struct frame *ring;
};

static int64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NS_PER_S + time.tv_nsec;
}

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		err(4, "%s", path);
	close(fd);
}

static int open_device(const char *name)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	struct packet_mreq all = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, buffer = BUFFER;

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(4, "%s", name);
	return fd;
}

static void take(struct direction *way, int64_t delay_ns)
{
	while (way->head - way->tail < FRAMES) {
		struct frame *frame = &way->ring[way->head & (FRAMES - 1)];

		frame->length = recv(way->from, frame->bytes, FRAME_MAX, 0);
		if (frame->length <= 0)
			return;
		frame->due_ns = now_ns() + delay_ns;
		way->head++;
	}
}

/* Returns when the next one is due. */
static int64_t pass(struct direction *way)
{
	while (way->tail != way->head) {
		struct frame *frame = &way->ring[way->tail & (FRAMES - 1)];

		if (frame->due_ns > now_ns())
			return frame->due_ns;
		/* A device that takes no frame of this size drops it, as a wire's end does. */
		if (send(way->to, frame->bytes, (size_t)frame->length, 0) < 0 && errno == EAGAIN)
			return now_ns();
		way->tail++;
	}
	return now_ns() + FOREVER_NS;
}

int main(int argc, char **argv)
{
	struct direction ways[2];
	int64_t delay_ns;

	if (argc != 5)
		errx(2, "delay NETNS DEVICE DEVICE MICROSECONDS");
	enter(argv[1]);
	delay_ns = atoll(argv[4]) * 1000;
	ways[0].from = ways[1].to = open_device(argv[2]);
	ways[1].from = ways[0].to = open_device(argv[3]);
	for (int i = 0; i < 2; i++) {
		ways[i].head = ways[i].tail = 0;
		ways[i].ring = calloc(FRAMES, sizeof(*ways[i].ring));
		if (!ways[i].ring)
			err(4, "ring");
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd waits[3] = {
			{.fd = ways[0].from, .events = POLLIN},
			{.fd = ways[1].from, .events = POLLIN},
			{.fd = STDIN_FILENO, .events = POLLIN},
		};
		int64_t first = pass(&ways[0]), second = pass(&ways[1]);
		int64_t left = (first < second ? first : second) - now_ns();
		struct timespec wait = {.tv_sec = left > 0 ? left / NS_PER_S : 0,
					.tv_nsec = left > 0 ? left % NS_PER_S : 0};

		if (ppoll(waits, 3, &wait, NULL) < 0 && errno != EINTR)
			err(4, "ppoll");
		if (waits[2].revents)
			return 0;
		for (int i = 0; i < 2; i++)
			take(&ways[i], delay_ns);
	}
}
