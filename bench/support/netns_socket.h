/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets in network namespaces, for programs whose ends are in several; _GNU_SOURCE is defined before. */
#ifndef CILIATE_BENCH_NETNS_SOCKET_H
#define CILIATE_BENCH_NETNS_SOCKET_H

#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
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

/* Stays on the core that it runs on, and listens at `own` in the namespace `path`. */
static int pinned_listener(const char *path, const struct sockaddr_in *own, int backlog)
{
	cpu_set_t cpus;
	int fd;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		err(4, "sched_setaffinity");
	enter(path);
	fd = tcp_socket();
	if (bind(fd, (const struct sockaddr *)own, sizeof(*own)) < 0 || listen(fd, backlog) < 0)
		err(4, "listen");
	return fd;
}

#endif
