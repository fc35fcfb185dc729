// SPDX-License-Identifier: Apache-2.0
/* Opens the sockets of one origin and family, and sets them up for the engine's mode. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define UDP_CHECKSUM_OFFSET 6

struct opening {
	struct engine *engine;
	struct engine_sockets *sockets;
	const struct socket_request *request;
};

int engine_reset_stamps(struct engine_socket *sock)
{
	sock->stamp_next = 0;
	return probe_reset_stamps(sock->fd);
}

static int set_options(const struct opening *opening, const struct engine_socket *sock)
{
	bool v4 = sock->family == 4;
	struct probe_ip_options options = {
		.family = sock->family,
		/* Where a raw socket sends with its ports, that one is told of errors. */
		.errors = sock->kind != SOCKET_UDP || opening->request->mode == MODE_DATAGRAM,
		/* A raw IPv4 socket reads the IP header itself. */
		.hop_limits = !(v4 && sock->raw),
		/* Sizes are what is measured: never split, and never by what the kernel believes of the path.
		 */
		.discover = IP_PMTUDISC_PROBE,
		.dont_fragment = true,
		/* The kernel makes the label of a datagram from its ports, and has no ports where the engine
		 * writes them.
		 */
		.flow_labels = sock->raw,
		.traffic_class = opening->engine->options[OPTION_DSCP] << 2,
	};
	int result = probe_set_ip_options(sock->fd, &options);

	if (result == 0 && sock->kind == SOCKET_UDP_RAW && !v4)
		result = probe_set_int(sock->fd, IPPROTO_IPV6, IPV6_CHECKSUM, UDP_CHECKSUM_OFFSET);
	return result;
}

static int bind_source(struct engine_socket *sock, const uint8_t *source)
{
	const struct socket_name name = {.family = sock->family, .address = source};
	int result = !source && sock->raw ? 0 : probe_bind(sock->fd, &name);

	if (result < 0 || sock->raw)
		return result;
	/* Binding gives a datagram socket its port, and an ICMP one its identifier. */
	return probe_bound_port(sock->fd, sock->kind == SOCKET_ICMP ? &sock->id : &sock->port);
}

/* Errors come through the error queue. The raw UDP socket sends only: what arrives goes to the sockets that
 * hold the ports. */
static int filter_raw(const struct engine_socket *sock)
{
	return sock->kind == SOCKET_ICMP ? probe_filter_echoes(sock->fd, sock->family, sock->id)
					 : probe_filter_all(sock->fd);
}

static int set_up(const struct opening *opening, struct engine_socket *sock)
{
	int result = set_options(opening, sock);
	bool programs = opening->request->mode == MODE_BPF;

	if (result == 0)
		result = bind_source(sock, opening->request->source);
	if (result == 0 && sock->raw)
		result = filter_raw(sock);
	if (result == 0 && programs)
		result = probe_set_int(sock->fd, SOL_SOCKET, SO_MARK, PROBE_MARK);
	if (result < 0)
		return result;
	probe_set_receive_buffer(sock->fd, opening->engine->options[OPTION_RECEIVE_BUFFER]);
	sock->stamps = !programs && probe_set_stamps(sock->fd) == 0;
	if (!sock->stamps)
		return 0;
	sock->owners = calloc(STAMP_OWNERS, sizeof(*sock->owners));
	return sock->owners ? 0 : -ENOMEM;
}

static int open_one(const struct opening *opening, struct engine_socket *sock, enum socket_kind kind,
		    bool raw)
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

static int open_all(void *data)
{
	const struct opening *opening = data;
	struct engine_sockets *sockets = opening->sockets;
	const int32_t *options = opening->engine->options;
	bool raw = opening->request->mode != MODE_DATAGRAM;
	int result = open_one(opening, &sockets->icmp, SOCKET_ICMP, raw);

	if (result == 0 && raw && options[OPTION_FLOWS])
		result = open_one(opening, &sockets->udp_raw, SOCKET_UDP_RAW, true);
	for (int i = 0; result == 0 && i < options[OPTION_FLOWS]; i++)
		result = open_one(opening, &sockets->udp[i], SOCKET_UDP, false);
	if (result == 0 && opening->request->mode == MODE_BPF)
		engine_open_device(opening->engine, sockets);
	return result;
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
	engine_close_device(sockets);
	for (int i = 0; i < ENGINE_FLOWS_MAX; i++)
		close_one(&sockets->udp[i]);
}

/* A family that cannot be had stays closed, with the reason in `error`, which is also returned. */
int engine_open_sockets(struct engine *engine, const struct socket_request *request)
{
	struct engine_sockets *sockets = &engine->sockets[request->origin][request->family == 4 ? 0 : 1];
	struct opening opening = {engine, sockets, request};

	sockets->mode = request->mode;
	sockets->error = probe_in_netns(request->netns_fd, open_all, &opening);
	if (sockets->error < 0)
		close_family(sockets);
	return sockets->error;
}

/* May be called twice. */
void engine_close_sockets(struct engine *engine)
{
	for (uint32_t i = 0; i < ENGINE_ORIGINS_MAX; i++) {
		close_family(&engine->sockets[i][0]);
		close_family(&engine->sockets[i][1]);
	}
}
