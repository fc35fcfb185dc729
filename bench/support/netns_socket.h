/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets in network namespaces, for programs whose ends are in several; _GNU_SOURCE is defined before. */
#ifndef CILIATE_BENCH_NETNS_SOCKET_H
#define CILIATE_BENCH_NETNS_SOCKET_H

#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		err(4, "%s", path);
	close(fd);
}

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		err(4, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd;
}

#endif
