/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A datagram every 200 us from one network namespace to an echo in another. Whenever answers stop or begin,
 * one line: "on NS" with the time at which the first datagram that was answered went out, "off NS" with that
 * of the last one. Times are of CLOCK_MONOTONIC. Ends when its standard input does. Runs on the last CPU,
 * before everything that has no real-time priority: what measures must not wait for what is measured.
 *
 * udpstream SERVER-NETNS CLIENT-NETNS IPV4 PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 200000
#define PRIORITY  50
/* Without an answer for so long the stream counts as stopped. */
#define SILENCE_NS 20000000

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		err(4, "%s", path);
	close(fd);
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void echo(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in from;
	int64_t sent;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		err(4, "bind");
	for (;;) {
		socklen_t length = sizeof(from);

		if (recvfrom(fd, &sent, sizeof(sent), 0, (struct sockaddr *)&from, &length) == sizeof(sent))
			sendto(fd, &sent, sizeof(sent), 0, (struct sockaddr *)&from, length);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	cpu_set_t cpus;
	struct sched_param priority = {.sched_priority = PRIORITY};
	struct pollfd input = {.fd = 0, .events = POLLIN};
	int64_t next, sent, last = 0;
	int fd, on = 0;

	if (argc != 5 || inet_pton(AF_INET, argv[3], &address.sin_addr) != 1)
		errx(2, "udpstream SERVER-NETNS CLIENT-NETNS IPV4 PORT");
	address.sin_port = htons((unsigned short)atoi(argv[4]));
	CPU_ZERO(&cpus);
	CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		warn("not on one CPU");
	if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0)
		warn("no real-time priority");
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (fork() == 0) {
		enter(argv[1]);
		echo(&address);
	}
	enter(argv[2]);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		err(4, "connect");
	for (next = now(); poll(&input, 1, 0) == 0; next += PERIOD_NS) {
		struct timespec until = {next / 1000000000, next % 1000000000};

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		sent = now();
		/* Refused while the echo is not there yet; then it stays off. */
		if (send(fd, &sent, sizeof(sent), 0) < 0)
			continue;
		while (recv(fd, &sent, sizeof(sent), 0) == sizeof(sent)) {
			if (!on)
				printf("on %lld\n", (long long)sent);
			on = 1;
			last = sent;
		}
		if (on && now() - last > SILENCE_NS) {
			printf("off %lld\n", (long long)last);
			on = 0;
		}
	}
	return 0;
}
