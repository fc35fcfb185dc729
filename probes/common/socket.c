// SPDX-License-Identifier: Apache-2.0
#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <netinet/icmp6.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif
/* linux/in6.h, which cannot stand beside netinet/in.h */
#ifndef IPV6_FLOWINFO_SEND
#define IPV6_FLOWINFO_SEND 33
#endif

struct task {
	int netns_fd;
	int (*work)(void *data);
	void *data;
	int result;
};

static void *enter_and_work(void *argument)
{
	struct task *task = argument;

	task->result = setns(task->netns_fd, CLONE_NEWNET) < 0 ? -errno : task->work(task->data);
	return NULL;
}

int probe_in_netns(int netns_fd, int (*work)(void *data), void *data)
{
	struct task task = {netns_fd, work, data, -EIO};
	pthread_t thread;
	int error;

	if (netns_fd < 0)
		return work(data);
	error = pthread_create(&thread, NULL, enter_and_work, &task);
	if (error)
		return -error;
	pthread_join(thread, NULL);
	return task.result;
}

socklen_t probe_sockaddr(struct sockaddr_in6 *out, const struct socket_name *name)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;

	if (name->family == 4) {
		*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = name->port};
		if (name->address)
			memcpy(&v4->sin_addr, name->address, sizeof(v4->sin_addr));
		return sizeof(*v4);
	}
	*out = (struct sockaddr_in6){.sin6_family = AF_INET6,
				     .sin6_port = name->port,
				     .sin6_flowinfo = htonl(name->flow_label),
				     .sin6_scope_id = name->scope_id};
	if (name->address)
		memcpy(&out->sin6_addr, name->address, sizeof(out->sin6_addr));
	return sizeof(*out);
}

int probe_bind(int fd, const struct socket_name *name)
{
	struct sockaddr_in6 address;
	socklen_t length = probe_sockaddr(&address, name);

	return bind(fd, (const struct sockaddr *)&address, length) < 0 ? -errno : 0;
}

int probe_bound_port(int fd, uint16_t *port)
{
	struct sockaddr_in6 name = {0};
	socklen_t length = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &length) < 0)
		return -errno;
	/* sin_port and sin6_port lie at the same offset. */
	*port = name.sin6_port;
	return 0;
}

int probe_set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

int probe_set_ip_options(int fd, const struct probe_ip_options *options)
{
	bool v4 = options->family == 4;
	int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	int result = probe_set_int(fd, level, v4 ? IP_RECVERR : IPV6_RECVERR, options->errors);

	if (result == 0 && options->hop_limits)
		result = probe_set_int(fd, level, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
	if (result == 0)
		result =
			probe_set_int(fd, level, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, options->discover);
	if (result == 0 && !v4)
		result = probe_set_int(fd, level, IPV6_DONTFRAG, options->dont_fragment);
	if (result == 0 && !v4 && options->flow_labels)
		result = probe_set_int(fd, level, IPV6_FLOWINFO_SEND, 1);
	if (result == 0 && options->traffic_class)
		result = probe_set_int(fd, level, v4 ? IP_TOS : IPV6_TCLASS, options->traffic_class);
	if (result == 0 && options->hop_limit)
		result = probe_set_int(fd, level, v4 ? IP_TTL : IPV6_UNICAST_HOPS, options->hop_limit);
	return result;
}

static int attach_filter(int fd, struct sock_filter *code, unsigned short count)
{
	struct sock_fprog program = {count, code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int filter_echoes_v4(int fd, uint16_t id)
{
	struct icmp_filter types = {~(1u << ICMP_ECHOREPLY)};
	struct sock_filter code[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(id), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	if (setsockopt(fd, SOL_RAW, ICMP_FILTER, &types, sizeof(types)) < 0)
		return -errno;
	return attach_filter(fd, code, sizeof(code) / sizeof(code[0]));
}

static int filter_echoes_v6(int fd, uint16_t id)
{
	struct icmp6_filter types;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(id), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	ICMP6_FILTER_SETBLOCKALL(&types);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &types);
	if (setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &types, sizeof(types)) < 0)
		return -errno;
	return attach_filter(fd, code, sizeof(code) / sizeof(code[0]));
}

int probe_filter_echoes(int fd, int family, uint16_t id)
{
	return family == 4 ? filter_echoes_v4(fd, id) : filter_echoes_v6(fd, id);
}

int probe_filter_all(int fd)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};

	return attach_filter(fd, code, 1);
}

void probe_set_receive_buffer(int fd, int bytes)
{
	if (probe_set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0)
		probe_set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

static int set_stamps(int fd, int more)
{
	int flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
		    SOF_TIMESTAMPING_OPT_TSONLY;

	return probe_set_int(fd, SOL_SOCKET, SO_TIMESTAMPING, flags | more);
}

int probe_set_stamps(int fd)
{
	return set_stamps(fd, SOF_TIMESTAMPING_OPT_ID);
}

int probe_reset_stamps(int fd)
{
	/* The kernel numbers packets from 0 again when OPT_ID is set anew. */
	int result = set_stamps(fd, 0);

	return result < 0 ? result : probe_set_stamps(fd);
}

int probe_take_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return error;
}

struct probe_memory probe_read_memory(int fd)
{
	uint32_t memory[SK_MEMINFO_VARS] = {0};
	socklen_t length = sizeof(memory);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) < 0)
		return (struct probe_memory){0};
	return (struct probe_memory){memory[SK_MEMINFO_DROPS], memory[SK_MEMINFO_RCVBUF]};
}
