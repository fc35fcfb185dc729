// SPDX-License-Identifier: Apache-2.0
/* Opens and sets up one ICMP socket. Every function returns 0 or more, or a negative errno. */
#include "icmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECEIVE_BYTES_MAX     (1u << 20)
#define UNSPLIT_PAYLOAD_BYTES 512  /* RFC 791 §3.1: every host takes 576 bytes whole */
#define SLOT_HEADROOM	      128u /* IPv4 header with options, and room to see a reply that is too long */

struct opening {
	int family;
	int type;
};

static int make_socket(void *data)
{
	const struct opening *opening = data;
	bool v4 = opening->family == 4;
	int fd = socket(v4 ? AF_INET : AF_INET6, opening->type | SOCK_CLOEXEC | SOCK_NONBLOCK,
			v4 ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);

	return fd < 0 ? -errno : fd;
}

static int set_options(const struct icmp_socket *sock, const int32_t *params)
{
	bool v4 = sock->family == 4;
	/* A packet that no link would split may as well forbid it: the kernel then need not number it (4 % of
	 * a probe). */
	bool never_split = v4 && params[PARAM_PAYLOAD_BYTES] <= UNSPLIT_PAYLOAD_BYTES;
	struct probe_ip_options options = {
		.family = sock->family,
		.errors = true,
		/* A raw IPv4 socket reads the IP header itself. */
		.hop_limits = !(v4 && sock->kind == KIND_RAW),
		.discover = params[PARAM_DONT_FRAGMENT] || never_split ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT,
		.dont_fragment = params[PARAM_DONT_FRAGMENT],
		.traffic_class = params[PARAM_TRAFFIC_CLASS],
		.hop_limit = params[PARAM_HOP_LIMIT],
	};

	return probe_set_ip_options(sock->fd, &options);
}

static int bind_source(const struct icmp_socket *sock, const uint8_t *source, uint32_t scope_id)
{
	const struct socket_name name = {
		.family = sock->family,
		.address = source,
		.scope_id = scope_id,
	};

	/* Binding is what gives a datagram socket its identifier. */
	return !source && sock->kind == KIND_RAW ? 0 : probe_bind(sock->fd, &name);
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
	int result = set_options(sock, params);

	if (result < 0)
		return result;
	result = bind_source(sock, source, (uint32_t)params[PARAM_SCOPE_ID]);
	if (result < 0)
		return result;
	/* Errors come through the error queue. */
	result = sock->kind == KIND_RAW ? probe_filter_echoes(sock->fd, sock->family, sock->id)
					: probe_bound_port(sock->fd, &sock->id);
	if (result < 0)
		return result;
	probe_set_receive_buffer(sock->fd, params[PARAM_RECEIVE_BUFFER]);
	sock->stamps = probe_set_stamps(sock->fd) == 0;
	return make_buffers(sock);
}

int icmp_open(struct icmp_socket *sock, const int32_t params[PARAM_COUNT], const uint8_t key[PROBE_KEY_BYTES],
	      const uint8_t *source)
{
	struct opening opening = {
		.family = params[PARAM_FAMILY] == 4 ? 4 : 6,
		.type = params[PARAM_KIND] == KIND_RAW ? SOCK_RAW : SOCK_DGRAM,
	};
	uint64_t width_ns;
	int result;

	sock->family = opening.family;
	sock->kind = params[PARAM_KIND] == KIND_RAW ? KIND_RAW : KIND_DATAGRAM;
	sock->id = htons((uint16_t)params[PARAM_ID]);
	sock->payload_bytes = (uint32_t)params[PARAM_PAYLOAD_BYTES];
	memcpy(sock->key, key, PROBE_KEY_BYTES);
	sock->base_ns = probe_now_ns();
	sock->clock_offset_ns = probe_clock_offset_ns(&width_ns);
	sock->fd = probe_in_netns(params[PARAM_NETNS_FD], make_socket, &opening);
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

void icmp_read_counters(struct icmp_socket *sock, double counters[COUNTER_COUNT])
{
	struct probe_memory memory = probe_read_memory(sock->fd);

	counters[COUNTER_RECEIVE_OVERFLOW] = memory.drops;
	counters[COUNTER_CLOCK_STEPS] = sock->clock_steps;
	counters[COUNTER_RECEIVE_BUFFER] = memory.receive_buffer;
	counters[COUNTER_ID] = ntohs(sock->id);
	counters[COUNTER_STAMPS] = sock->stamps;
}
