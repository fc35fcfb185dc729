/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COUNT connections of TCP between two network namespaces, one after the other, each with one byte there and
 * one back. Both ends run on the same CPU. Prints the nanoseconds of a connection.
 *
 * connects SERVER-NETNS CLIENT-NETNS IPV4 PORT COUNT SERVER-PORT: where clients connect, and where the server
 * listens, on every address.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "netns_socket.h"

static void serve(int listener)
{
	char byte;
	int fd;

	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			err(4, "accept");
		if (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
			(void)!read(fd, &byte, 1);
		close(fd);
	}
}

/* Closed by a reset: nothing waits for its time. */
static void connect_once(const struct sockaddr_in *address)
{
	const struct linger reset = {.l_onoff = 1};
	int fd = tcp_socket();
	char byte = 'x';

	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		err(4, "connect");
	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		err(4, "transaction");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET}, own = {.sin_family = AF_INET};
	long count, i;
	double start;
	int listener;
	pid_t pid;

	if (argc != 7 || inet_pton(AF_INET, argv[3], &address.sin_addr) != 1)
		errx(2, "connects SERVER-NETNS CLIENT-NETNS IPV4 PORT COUNT SERVER-PORT");
	address.sin_port = htons((unsigned short)atoi(argv[4]));
	own.sin_port = htons((unsigned short)atoi(argv[6]));
	count = atol(argv[5]);
	listener = pinned_listener(argv[1], &own, 64);
	pid = fork();
	if (pid < 0)
		err(4, "fork");
	if (pid == 0)
		serve(listener);
	close(listener);
	enter(argv[2]);
	start = now_ns();
	for (i = 0; i < count; i++)
		connect_once(&address);
	printf("%.0f\n", (now_ns() - start) / (double)count);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}
