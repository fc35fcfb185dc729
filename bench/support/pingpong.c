/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection between two network namespaces, one byte there and one back, COUNT times. Both ends run
 * on the same CPU: split over two, the idle wake-ups would be all that is measured.
 *
 * pingpong SERVER-NETNS CLIENT-NETNS IPV4 PORT COUNT [SERVER-PORT]: where the client connects, and where the
 * server listens if that is another port; it does so on every address.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "netns_socket.h"

static void no_delay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		err(4, "TCP_NODELAY");
}

static void client(const struct sockaddr_in *address, long count)
{
	int fd = tcp_socket();
	char byte = 'x';

	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		err(4, "connect");
	no_delay(fd);
	while (count-- > 0) {
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			err(4, "transaction");
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET}, own = {.sin_family = AF_INET};
	int listener, fd, status = 0;
	char byte;
	pid_t pid;

	if ((argc != 6 && argc != 7) || inet_pton(AF_INET, argv[3], &address.sin_addr) != 1)
		errx(2, "pingpong SERVER-NETNS CLIENT-NETNS IPV4 PORT COUNT [SERVER-PORT]");
	address.sin_port = htons((unsigned short)atoi(argv[4]));
	own.sin_port = argc == 7 ? htons((unsigned short)atoi(argv[6])) : address.sin_port;
	listener = pinned_listener(argv[1], &own, 1);
	pid = fork();
	if (pid < 0)
		err(4, "fork");
	if (pid == 0) {
		enter(argv[2]);
		client(&address, atol(argv[5]));
		return 0;
	}
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		err(4, "accept");
	no_delay(fd);
	while (read(fd, &byte, 1) == 1) {
		if (write(fd, &byte, 1) != 1)
			break;
	}
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		errx(4, "the client failed");
	return 0;
}
