// SPDX-License-Identifier: Apache-2.0
/* Opens the sockets of one origin and family, and sets them up for the engine's mode. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <netinet/icmp6.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif
#define UDP_CHECKSUM_OFFSET 6

struct opening {
	struct engine *engine;
	struct engine_sockets *sockets;
	const struct socket_request *request;
	int result;
};

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_stamps(int fd, bool with_id)
{
	int flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
		    SOF_TIMESTAMPING_OPT_TSONLY;

	return set_int(fd, SOL_SOCKET, SO_TIMESTAMPING, with_id ? flags | SOF_TIMESTAMPING_OPT_ID : flags);
}

/* The kernel numbers packets from 0 again when OPT_ID is set anew. */
int engine_reset_stamps(struct engine_socket *sock)
{
	int result = set_stamps(sock->fd, false);

	sock->stamp_next = 0;
	return result < 0 ? result : set_stamps(sock->fd, true);
}

/* Clears and returns the pending error, so that no send is refused for an earlier probe's ICMP error. */
int engine_take_error(struct engine_socket *sock)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return error;
}

/* Packets that the kernel had no room for, since the socket was opened. */
uint32_t engine_read_drops(const struct engine_socket *sock)
{
	uint32_t memory[SK_MEMINFO_VARS] = {0};
	socklen_t length = sizeof(memory);

	if (getsockopt(sock->fd, SOL_SOCKET, SO_MEMINFO, memory, &length) < 0)
		return 0;
	return memory[SK_MEMINFO_DROPS];
}

static int set_family_options(const struct opening *opening, const struct engine_socket *sock)
{
	bool v4 = sock->family == 4;
	int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	int traffic_class = opening->engine->options[OPTION_DSCP] << 2;
	/* Where a raw socket sends with its ports, that one is told of errors. */
	bool sends = sock->kind != SOCKET_UDP || opening->request->mode == MODE_DATAGRAM;
	int result = set_int(sock->fd, level, v4 ? IP_RECVERR : IPV6_RECVERR, sends);

	/* A raw IPv4 socket reads the IP header itself. */
	if (result == 0 && !(v4 && sock->raw))
		result = set_int(sock->fd, level, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
	/* Sizes are what is measured: never split, and never by what the kernel believes of the path. */
	if (result == 0)
		result =
			set_int(sock->fd, level, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	if (result == 0 && !v4)
		result = set_int(sock->fd, level, IPV6_DONTFRAG, 1);
	if (result == 0 && traffic_class)
		result = set_int(sock->fd, level, v4 ? IP_TOS : IPV6_TCLASS, traffic_class);
	if (result == 0 && sock->kind == SOCKET_UDP_RAW && !v4)
		result = set_int(sock->fd, IPPROTO_IPV6, IPV6_CHECKSUM, UDP_CHECKSUM_OFFSET);
	return result;
}

/* Only echo replies that carry our identifier cross into user space; errors come through the error queue. */
static int filter_icmp(const struct engine_socket *sock)
{
	struct sock_filter v4[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(sock->id), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter v6[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(sock->id), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {5, v4};
	struct icmp6_filter types6;
	struct icmp_filter types4 = {~(1u << ICMP_ECHOREPLY)};
	int result;

	if (sock->family == 6) {
		program = (struct sock_fprog){4, v6};
		ICMP6_FILTER_SETBLOCKALL(&types6);
		ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &types6);
		result = setsockopt(sock->fd, IPPROTO_ICMPV6, ICMP6_FILTER, &types6, sizeof(types6));
	} else {
		result = setsockopt(sock->fd, SOL_RAW, ICMP_FILTER, &types4, sizeof(types4));
	}
	if (result < 0)
		return -errno;
	return setsockopt(sock->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

/* The raw UDP socket sends only: what arrives goes to the sockets that hold the ports. */
static int filter_nothing(const struct engine_socket *sock)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog program = {1, code};

	return setsockopt(sock->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int bind_source(struct engine_socket *sock, const uint8_t *source)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr *address = sock->family == 4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t length = sock->family == 4 ? sizeof(v4) : sizeof(v6);

	if (source)
		memcpy(sock->family == 4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr, source,
		       sock->family == 4 ? 4 : 16);
	else if (sock->raw)
		return 0;
	if (bind(sock->fd, address, length) < 0)
		return -errno;
	if (sock->raw)
		return 0;
	/* Binding gives a datagram socket its port, and an ICMP one its identifier; at one offset in both. */
	if (getsockname(sock->fd, address, &length) < 0)
		return -errno;
	if (sock->kind == SOCKET_ICMP)
		sock->id = v4.sin_family == AF_INET && sock->family == 4 ? v4.sin_port : v6.sin6_port;
	else
		sock->port = sock->family == 4 ? v4.sin_port : v6.sin6_port;
	return 0;
}

static int set_up(struct opening *opening, struct engine_socket *sock)
{
	int result = set_family_options(opening, sock);
	bool programs = opening->request->mode == MODE_BPF;
	int buffer = opening->engine->options[OPTION_RECEIVE_BUFFER];

	if (result == 0)
		result = bind_source(sock, opening->request->source);
	if (result == 0 && sock->raw)
		result = sock->kind == SOCKET_ICMP ? filter_icmp(sock) : filter_nothing(sock);
	if (result == 0 && programs)
		result = set_int(sock->fd, SOL_SOCKET, SO_MARK, PROBE_MARK);
	if (result < 0)
		return result;
	/* Unprivileged, the kernel caps it at net.core.rmem_max. */
	if (set_int(sock->fd, SOL_SOCKET, SO_RCVBUFFORCE, buffer) < 0)
		set_int(sock->fd, SOL_SOCKET, SO_RCVBUF, buffer);
	sock->stamps = !programs && set_stamps(sock->fd, true) == 0;
	if (!sock->stamps)
		return 0;
	sock->owners = calloc(STAMP_OWNERS, sizeof(*sock->owners));
	return sock->owners ? 0 : -ENOMEM;
}

static int open_one(struct opening *opening, struct engine_socket *sock, enum socket_kind kind, bool raw)
{
	bool v4 = opening->request->family == 4;
	int icmp = v4 ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6;
	struct epoll_event event = {.events = EPOLLIN | EPOLLERR, .data.ptr = sock};
	int result;

	*sock = (struct engine_socket){
		.fd = -1, .kind = kind, .family = opening->request->family, .raw = raw};
	sock->id = htons((uint16_t)opening->engine->options[OPTION_ICMP_ID]);
	sock->fd =
		socket(v4 ? AF_INET : AF_INET6, (raw ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       kind == SOCKET_ICMP ? icmp : (int)IPPROTO_UDP);
	if (sock->fd < 0)
		return -errno;
	result = set_up(opening, sock);
	if (result == 0 && epoll_ctl(opening->engine->epoll, EPOLL_CTL_ADD, sock->fd, &event) < 0)
		result = -errno;
	return result;
}

static int open_all(struct opening *opening)
{
	struct engine_sockets *sockets = opening->sockets;
	int32_t *options = opening->engine->options;
	bool raw = opening->request->mode != MODE_DATAGRAM;
	int result = open_one(opening, &sockets->icmp, SOCKET_ICMP, raw);

	if (result == 0 && raw && options[OPTION_FLOWS])
		result = open_one(opening, &sockets->udp_raw, SOCKET_UDP_RAW, true);
	for (int i = 0; result == 0 && i < options[OPTION_FLOWS]; i++)
		result = open_one(opening, &sockets->udp[i], SOCKET_UDP, false);
	return result;
}

static void *open_inside(void *argument)
{
	struct opening *opening = argument;

	if (setns(opening->request->netns_fd, CLONE_NEWNET) < 0)
		opening->result = -errno;
	else
		opening->result = open_all(opening);
	return NULL;
}

static void close_one(struct engine_socket *sock)
{
	if (sock->fd >= 0)
		close(sock->fd);
	sock->fd = -1;
	free(sock->owners);
	sock->owners = NULL;
}

static void close_family(struct engine_sockets *sockets)
{
	close_one(&sockets->icmp);
	close_one(&sockets->udp_raw);
	for (int i = 0; i < ENGINE_FLOWS_MAX; i++)
		close_one(&sockets->udp[i]);
}

/*
 * A socket belongs to the namespace it was made in; only a thread of its own may enter another. A family that
 * cannot be had stays closed, with the reason in `error`, which is also returned.
 */
int engine_open_sockets(struct engine *engine, const struct socket_request *request)
{
	struct engine_sockets *sockets = &engine->sockets[request->origin][request->family == 4 ? 0 : 1];
	struct opening opening = {engine, sockets, request, -EIO};
	pthread_t thread;

	sockets->mode = request->mode;
	if (request->netns_fd < 0) {
		opening.result = open_all(&opening);
	} else {
		int error = pthread_create(&thread, NULL, open_inside, &opening);

		if (error)
			opening.result = -error;
		else
			pthread_join(thread, NULL);
	}
	sockets->error = opening.result;
	if (opening.result < 0)
		close_family(sockets);
	return opening.result;
}

/* May be called twice. */
void engine_close_sockets(struct engine *engine)
{
	for (uint32_t i = 0; i < ENGINE_ORIGINS_MAX; i++) {
		close_family(&engine->sockets[i][0]);
		close_family(&engine->sockets[i][1]);
	}
}
