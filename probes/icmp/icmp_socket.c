// SPDX-License-Identifier: Apache-2.0
/* Opens and sets up one ICMP socket. Every function returns 0 or more, or a negative errno. */
#include "icmp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <netinet/icmp6.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif
#define RECEIVE_BYTES_MAX     (1u << 20)
#define UNSPLIT_PAYLOAD_BYTES 512  /* RFC 791 §3.1: every host takes 576 bytes whole */
#define SLOT_HEADROOM	      128u /* IPv4 header with options, and room to see a reply that is too long */

struct namespace_open {
	int netns_fd;
	int family;
	int type;
	int protocol;
	int result;
};

static int make_socket(int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	return fd < 0 ? -errno : fd;
}

static void *open_inside(void *argument)
{
	struct namespace_open *open = argument;

	if (setns(open->netns_fd, CLONE_NEWNET) < 0)
		open->result = -errno;
	else
		open->result = make_socket(open->family, open->type, open->protocol);
	return NULL;
}

/* A socket belongs to the namespace it was made in; only a thread of its own may enter another. */
static int make_socket_in(int netns_fd, int family, int type, int protocol)
{
	struct namespace_open open = {netns_fd, family, type, protocol, -EIO};
	pthread_t thread;
	int error;

	if (netns_fd < 0)
		return make_socket(family, type, protocol);
	error = pthread_create(&thread, NULL, open_inside, &open);
	if (error)
		return -error;
	pthread_join(thread, NULL);
	return open.result;
}

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
int icmp_reset_stamps(struct icmp_socket *sock)
{
	int result = set_stamps(sock->fd, false);

	return result < 0 ? result : set_stamps(sock->fd, true);
}

static int set_family_options(const struct icmp_socket *sock, const int32_t *params)
{
	bool v4 = sock->family == 4;
	int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	/* A packet that no link would split may as well forbid it: the kernel then need not number it (4 % of
	 * a probe). */
	bool never_split = v4 && params[PARAM_PAYLOAD_BYTES] <= UNSPLIT_PAYLOAD_BYTES;
	int discover = params[PARAM_DONT_FRAGMENT] || never_split ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT;
	int result;

	result = set_int(sock->fd, level, v4 ? IP_RECVERR : IPV6_RECVERR, 1);
	/* A raw IPv4 socket reads the IP header itself. */
	if (result == 0 && !(v4 && sock->kind == KIND_RAW))
		result = set_int(sock->fd, level, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
	if (result == 0)
		result = set_int(sock->fd, level, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, discover);
	if (result == 0 && !v4)
		result = set_int(sock->fd, level, IPV6_DONTFRAG, params[PARAM_DONT_FRAGMENT]);
	if (result == 0 && params[PARAM_TRAFFIC_CLASS])
		result = set_int(sock->fd, level, v4 ? IP_TOS : IPV6_TCLASS, params[PARAM_TRAFFIC_CLASS]);
	if (result == 0 && params[PARAM_HOP_LIMIT])
		result = set_int(sock->fd, level, v4 ? IP_TTL : IPV6_UNICAST_HOPS, params[PARAM_HOP_LIMIT]);
	return result;
}

/* Only echo replies that carry our identifier cross into user space; errors come through the error queue. */
static int set_raw_filters(const struct icmp_socket *sock)
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

static void set_receive_buffer(int fd, int bytes)
{
	/* Unprivileged, the kernel caps it at net.core.rmem_max; what was granted is in the counters. */
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0)
		set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

static int bind_source(const struct icmp_socket *sock, const uint8_t *source, uint32_t scope_id)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_scope_id = scope_id};
	const void *address = sock->family == 4 ? (const void *)&v4 : (const void *)&v6;
	socklen_t length = sock->family == 4 ? sizeof(v4) : sizeof(v6);

	/* Binding is what gives a datagram socket its identifier. */
	if (!source && sock->kind == KIND_RAW)
		return 0;
	if (source)
		memcpy(sock->family == 4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr, source,
		       sock->family == 4 ? 4 : 16);
	return bind(sock->fd, address, length) < 0 ? -errno : 0;
}

static int read_datagram_id(struct icmp_socket *sock)
{
	struct sockaddr_in6 name = {0};
	socklen_t length = sizeof(name);

	if (getsockname(sock->fd, (struct sockaddr *)&name, &length) < 0)
		return -errno;
	/* sin_port and sin6_port lie at the same offset. */
	sock->id = name.sin6_port;
	return 0;
}

static int make_buffers(struct icmp_socket *sock)
{
	sock->packet_bytes = ICMP_HEADER_BYTES + sock->payload_bytes;
	sock->slot_bytes = (sock->packet_bytes + SLOT_HEADROOM + 63u) & ~63u;
	sock->slots = RECEIVE_BYTES_MAX / sock->slot_bytes;
	if (sock->slots > ICMP_BATCH_MAX)
		sock->slots = ICMP_BATCH_MAX;
	sock->send_buffer = malloc((size_t)sock->slots * sock->packet_bytes);
	sock->receive_buffer = malloc((size_t)sock->slots * sock->slot_bytes);
	if (!sock->send_buffer || !sock->receive_buffer)
		return -ENOMEM;
	for (uint32_t i = 0; i < sock->slots; i++)
		icmp_template(sock, sock->send_buffer + (size_t)i * sock->packet_bytes);
	return 0;
}

static int set_up(struct icmp_socket *sock, const int32_t *params, const uint8_t *source)
{
	int result = set_family_options(sock, params);

	if (result < 0)
		return result;
	result = bind_source(sock, source, (uint32_t)params[PARAM_SCOPE_ID]);
	if (result < 0)
		return result;
	result = sock->kind == KIND_RAW ? set_raw_filters(sock) : read_datagram_id(sock);
	if (result < 0)
		return result;
	set_receive_buffer(sock->fd, params[PARAM_RECEIVE_BUFFER]);
	sock->stamps = set_stamps(sock->fd, true) == 0;
	return make_buffers(sock);
}

int icmp_open(struct icmp_socket *sock, const int32_t params[PARAM_COUNT], const uint8_t key[ICMP_KEY_BYTES],
	      const uint8_t *source)
{
	bool v4 = params[PARAM_FAMILY] == 4;
	int type = params[PARAM_KIND] == KIND_RAW ? SOCK_RAW : SOCK_DGRAM;
	int result;

	sock->family = v4 ? 4 : 6;
	sock->kind = params[PARAM_KIND] == KIND_RAW ? KIND_RAW : KIND_DATAGRAM;
	sock->id = htons((uint16_t)params[PARAM_ID]);
	sock->payload_bytes = (uint32_t)params[PARAM_PAYLOAD_BYTES];
	memcpy(sock->key, key, ICMP_KEY_BYTES);
	sock->base_ns = icmp_monotonic_ns();
	sock->clock_offset_ns = icmp_clock_offset_ns();
	sock->fd = make_socket_in(params[PARAM_NETNS_FD], v4 ? AF_INET : AF_INET6, type,
				  v4 ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
	if (sock->fd < 0)
		return sock->fd;
	result = set_up(sock, params, source);
	if (result < 0)
		icmp_close(sock);
	return result;
}

/* May be called twice. */
void icmp_close(struct icmp_socket *sock)
{
	if (sock->fd >= 0)
		close(sock->fd);
	sock->fd = -1;
	free(sock->send_buffer);
	free(sock->receive_buffer);
	sock->send_buffer = NULL;
	sock->receive_buffer = NULL;
}

/* Clears and returns the pending error, so that the next send is not refused for an earlier probe's ICMP
 * error. */
int icmp_take_error(struct icmp_socket *sock)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return error;
}

void icmp_read_counters(struct icmp_socket *sock, double counters[COUNTER_COUNT])
{
	uint32_t memory[SK_MEMINFO_VARS] = {0};
	socklen_t length = sizeof(memory);

	/*
	 * The same counter that SO_RXQ_OVFL attaches to each packet, read when wanted: costs nothing a packet
	 * and is right even when no packet follows the loss.
	 */
	if (getsockopt(sock->fd, SOL_SOCKET, SO_MEMINFO, memory, &length) < 0)
		memset(memory, 0, sizeof(memory));
	counters[COUNTER_RECEIVE_OVERFLOW] = memory[SK_MEMINFO_DROPS];
	counters[COUNTER_CLOCK_STEPS] = sock->clock_steps;
	counters[COUNTER_RECEIVE_BUFFER] = memory[SK_MEMINFO_RCVBUF];
	counters[COUNTER_ID] = ntohs(sock->id);
	counters[COUNTER_STAMPS] = sock->stamps;
}
