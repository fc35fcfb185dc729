// SPDX-License-Identifier: Apache-2.0
/* Asks the kernel by RTM_GETROUTE; RTM_F_FIB_MATCH answers with the route itself, all of its ways included.
 */
#include "route.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../bpf/lib/probe_structs.h"
#include "../common/socket.h"

#define LOOPBACK	       1 /* its index in every namespace */
#define ANSWER_BYTES	       16384
#define ANSWER_SECONDS	       1
#define QUESTION_ATTRIBUTE_MAX 3

#ifndef RTM_F_FIB_MATCH
#define RTM_F_FIB_MATCH 0x2000
#endif

static int open_socket(uint32_t groups, bool blocking)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), NETLINK_ROUTE);
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0)
		return fd;
	close(fd);
	return -errno;
}

static int open_both(void *data)
{
	struct routes *routes = data;

	routes->ask = open_socket(0, true);
	if (routes->ask < 0)
		return routes->ask;
	routes->listen = open_socket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
					     RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE,
				     false);
	return routes->listen < 0 ? routes->listen : 0;
}

int routes_open(struct routes *routes, int netns_fd)
{
	int result;

	*routes = (struct routes){.ask = -1, .listen = -1};
	result = probe_in_netns(netns_fd, open_both, routes);
	if (result < 0)
		routes_close(routes);
	return result;
}

/* May be called twice. */
void routes_close(struct routes *routes)
{
	if (routes->ask >= 0)
		close(routes->ask);
	if (routes->listen >= 0)
		close(routes->listen);
	routes->ask = routes->listen = -1;
}

/* What is told does not matter: that it was, or that there was more than the socket could hold, does. */
int routes_changed(struct routes *routes)
{
	static const int reads_max = 4096;
	uint8_t bytes[4096];
	int changed = 0;

	for (int i = 0; i < reads_max; i++) {
		ssize_t got = recv(routes->listen, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);

		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return changed;
		if (got < 0 && errno != ENOBUFS && errno != EINTR)
			return -errno;
		changed = 1;
	}
	return changed;
}

struct request {
	struct nlmsghdr header;
	struct rtmsg route;
	uint8_t attributes[QUESTION_ATTRIBUTE_MAX * RTA_SPACE(16)];
};

static void add_attribute(struct request *request, uint16_t type, const void *value, uint16_t bytes)
{
	struct rtattr *attribute =
		(struct rtattr *)((uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(bytes);
	memcpy(RTA_DATA(attribute), value, bytes);
	request->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_SPACE(bytes));
}

static void fill_request(struct request *request, const struct route_question *question, uint32_t sequence)
{
	uint16_t bytes = question->family == 4 ? 4 : 16;
	uint32_t mark = PROBE_MARK;

	*request = (struct request){
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			   .nlmsg_type = RTM_GETROUTE,
			   .nlmsg_flags = NLM_F_REQUEST,
			   .nlmsg_seq = sequence},
		.route = {.rtm_family = question->family == 4 ? AF_INET : AF_INET6,
			  .rtm_dst_len = (uint8_t)(bytes * 8),
			  .rtm_src_len = (uint8_t)(question->source ? bytes * 8 : 0),
			  .rtm_flags = RTM_F_FIB_MATCH},
	};
	add_attribute(request, RTA_DST, question->address, bytes);
	add_attribute(request, RTA_MARK, &mark, sizeof(mark));
	if (question->source)
		add_attribute(request, RTA_SRC, question->source, bytes);
}

static void add_device(uint32_t device, uint32_t devices[ROUTE_DEVICES_MAX], uint32_t *count)
{
	for (uint32_t i = 0; i < *count; i++)
		if (devices[i] == device)
			return;
	if (device && *count < ROUTE_DEVICES_MAX)
		devices[(*count)++] = device;
}

static void add_ways(const struct rtattr *attribute, uint32_t devices[ROUTE_DEVICES_MAX], uint32_t *count)
{
	const struct rtnexthop *way = RTA_DATA(attribute);
	int left = (int)RTA_PAYLOAD(attribute);

	for (; left >= (int)sizeof(*way) && RTNH_OK(way, left);
	     left -= RTNH_ALIGN(way->rtnh_len), way = RTNH_NEXT(way))
		add_device((uint32_t)way->rtnh_ifindex, devices, count);
}

static int read_route(const struct nlmsghdr *header, uint32_t devices[ROUTE_DEVICES_MAX], uint32_t *count)
{
	const struct rtmsg *route = NLMSG_DATA(header);
	const struct rtattr *attribute = RTM_RTA(route);
	int left = (int)RTM_PAYLOAD(header);
	uint32_t device;

	/* What goes to ourselves goes by the loopback, whichever device holds the address. */
	if (route->rtm_type == RTN_LOCAL) {
		add_device(LOOPBACK, devices, count);
		return 0;
	}
	if (route->rtm_type != RTN_UNICAST)
		return -ENETUNREACH;
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type == RTA_OIF) {
			memcpy(&device, RTA_DATA(attribute), sizeof(device));
			add_device(device, devices, count);
		} else if (attribute->rta_type == RTA_MULTIPATH) {
			add_ways(attribute, devices, count);
		}
	}
	return 0;
}

/* Blocks for as long as the kernel takes, some microseconds. */
int routes_ask(struct routes *routes, const struct route_question *question,
	       uint32_t devices[ROUTE_DEVICES_MAX], uint32_t *count)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_BYTES];
	const struct nlmsghdr *header = (const void *)answer;
	const struct nlmsgerr *error;
	struct request request;
	ssize_t got;

	fill_request(&request, question, ++routes->sequence);
	if (send(routes->ask, &request, request.header.nlmsg_len, 0) < 0)
		return -errno;
	do {
		got = recv(routes->ask, answer, sizeof(answer), 0);
		if (got < 0 && errno != EINTR)
			return -errno;
		/* An answer to a question that was given up is passed over. */
	} while (got < 0 || !NLMSG_OK(header, (uint32_t)got) || header->nlmsg_seq != routes->sequence);
	if (header->nlmsg_type == RTM_NEWROUTE)
		return read_route(header, devices, count);
	error = NLMSG_DATA(header);
	return header->nlmsg_type == NLMSG_ERROR && error->error < 0 ? error->error : -EPROTO;
}

int routes_index(const struct routes *routes, const char *name)
{
	struct ifreq request = {};

	if (strlen(name) >= sizeof(request.ifr_name))
		return -ENODEV;
	strcpy(request.ifr_name, name);
	return ioctl(routes->ask, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

int routes_name(const struct routes *routes, uint32_t index, char *name)
{
	struct ifreq request = {.ifr_ifindex = (int)index};

	if (ioctl(routes->ask, SIOCGIFNAME, &request) < 0)
		return -errno;
	memcpy(name, request.ifr_name, sizeof(request.ifr_name));
	return 0;
}
