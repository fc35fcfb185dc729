// SPDX-License-Identifier: Apache-2.0
/*
 * Sends probes from the device on, a batch for one frame, where the egress program has seen how the kernel
 * sends them.
 *
 * 1. The whole way, through a raw socket, is the rule. A probe that takes it shows the program the frame that
 *    routes and neighbours made of it.
 * 2. While that is fresh, no route, address or link has changed since, and the path answers, the next
 *    WAY_USES probes begin at the device. Then one goes the whole way again.
 * 3. What the device did not take goes the whole way at once.
 * 4. A suspect is asked the whole way: nobody is called silent for what we believed of the way. If a miss
 *    followed a short cut, the path has none for a while, each time twice as long.
 */
#include "engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define WAY_USES       7
#define WAY_AGE	       (10 * NS_PER_SECOND >> PROBE_WAY_SHIFT)
#define DISTRUST_NS    (60 * NS_PER_SECOND)
#define DISTRUST_TWICE 6 /* at most so many times */

/* Probes of one family that wait for their frame. */
struct device_batch {
	struct engine_sockets *sockets;
	uint32_t ifindex;
	uint32_t count;
	struct packet_plan plans[PROBE_BATCH];
};

static bool is_v4(const struct path_state *path)
{
	return path->family == 4;
}

static struct engine_sockets *sockets_of(struct engine *engine, const struct path_state *path)
{
	return &engine->sockets[path->origin][is_v4(path) ? 0 : 1];
}

/* Maps the batches that the program sends. Without programs there are none. */
int engine_device_init(struct engine *engine)
{
	int fd = engine->options[OPTION_BATCHES_FD];
	void *batches;

	if (fd < 0)
		return 0;
	batches = mmap(NULL, 2 * sizeof(*engine->batches), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (batches == MAP_FAILED)
		return -errno;
	engine->batches = batches;
	engine->waiting = calloc(2, sizeof(*engine->waiting));
	return engine->waiting ? 0 : -ENOMEM;
}

void engine_device_free(struct engine *engine)
{
	if (engine->batches)
		munmap(engine->batches, 2 * sizeof(*engine->batches));
	free(engine->waiting);
	engine->batches = NULL;
	engine->waiting = NULL;
}

static int listen_to_changes(int fd)
{
	struct sockaddr_nl name = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE |
			     RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE | 1u << (RTNLGRP_IPV6_RULE - 1),
	};
	int result = probe_set_int(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_NEXTHOP);

	return result == 0 && bind(fd, (const struct sockaddr *)&name, sizeof(name)) < 0 ? -errno : result;
}

/* In the origin's namespace. Where it does not work, all probes take the whole way. */
void engine_open_device(struct engine *engine, struct engine_sockets *sockets)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &sockets->changed};
	int type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;

	sockets->changed = (struct engine_socket){.fd = -1, .kind = SOCKET_CHANGES};
	if (!engine->batches)
		return;
	sockets->device = socket(AF_PACKET, type, 0);
	sockets->changed.fd = socket(AF_NETLINK, type, NETLINK_ROUTE);
	if (sockets->device < 0 || sockets->changed.fd < 0 || listen_to_changes(sockets->changed.fd) < 0 ||
	    probe_set_int(sockets->device, SOL_SOCKET, SO_MARK, PROBE_MARK | PROBE_BATCH_BIT) < 0 ||
	    /* While one socket wants stamps, all that arrives has one, and answers may wait for each other.
	     */
	    probe_set_int(sockets->device, SOL_SOCKET, SO_TIMESTAMPING,
			  SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE) < 0 ||
	    epoll_ctl(engine->epoll, EPOLL_CTL_ADD, sockets->changed.fd, &event) < 0)
		engine_close_device(sockets);
}

void engine_close_device(struct engine_sockets *sockets)
{
	if (sockets->device >= 0)
		close(sockets->device);
	if (sockets->changed.fd >= 0)
		close(sockets->changed.fd);
	sockets->device = sockets->changed.fd = -1;
}

/* Links, addresses, routes or rules have changed; what exactly does not matter. */
void engine_note_changes(struct engine *engine, struct engine_socket *changed)
{
	struct engine_sockets *sockets = (void *)((char *)changed - offsetof(struct engine_sockets, changed));
	char bytes[8192];

	(void)engine;
	sockets->changes++;
	for (int i = 0; i < ENGINE_BATCH; i++) {
		if (recv(changed->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC) < 0 && errno != ENOBUFS)
			return;
	}
}

static bool is_answering(const struct path_state *path)
{
	return path->phase == PHASE_NEW || path->phase == PHASE_ANSWERING;
}

/* Whether the next probe may begin at the device; counts it. */
bool engine_takes_short_cut(struct engine *engine, uint32_t index, uint64_t now_ns)
{
	struct path_state *path = &engine->paths[index];
	struct engine_sockets *sockets = sockets_of(engine, path);
	const struct probe_path *record = &engine->records[index];
	const struct probe_way *way = &record->way;
	uint32_t answered = (uint32_t)(record->answered_last_ns >> PROBE_WAY_SHIFT);

	if (sockets->device < 0 || path->packet_bytes != engine_packet_least(path->family))
		return false;
	if (path->way_left && path->way_changes == sockets->changes && is_answering(path) &&
	    now_ns >= path->way_after_ns && way->ifindex && record->answered_last_ns &&
	    (int32_t)(answered - way->learned) >= 0 &&
	    (uint32_t)(now_ns >> PROBE_WAY_SHIFT) - way->learned <= WAY_AGE) {
		path->way_left--;
		return true;
	}
	if (!path->way_left)
		path->way_misses = 0;
	path->way_left = WAY_USES;
	path->way_changes = sockets->changes;
	return false;
}

/* A probe had no answer, or an error instead of one. */
void engine_distrust(struct engine *engine, uint32_t index, uint64_t now_ns)
{
	struct path_state *path = &engine->paths[index];

	if (sockets_of(engine, path)->device < 0 || path->way_left == WAY_USES)
		return;
	path->way_left = WAY_USES;
	path->way_after_ns = now_ns + (DISTRUST_NS << path->way_misses);
	path->way_misses += path->way_misses < DISTRUST_TWICE;
}

/* Over IPv6 the kernel sums what a socket sends: here it is ours to do. */
static void sum_v6(uint8_t *frame, uint32_t protocol)
{
	uint8_t *packet = frame + PROBE_HEAD_V6;
	uint8_t *sum_at = packet + (protocol == IPPROTO_UDP ? 6 : 2);
	struct {
		uint8_t addresses[32];
		uint32_t length, protocol;
		uint8_t packet[PROBE_LEAST_BYTES];
	} summed = {.length = htonl(PROBE_LEAST_BYTES), .protocol = htonl(protocol)};
	uint16_t sum;

	memcpy(summed.addresses, frame + PROBE_HEAD_V6 - 32, 32);
	memset(sum_at, 0, 2);
	memcpy(summed.packet, packet, sizeof(summed.packet));
	sum = probe_checksum((const uint8_t *)&summed, sizeof(summed));
	sum = sum == 0 && protocol == IPPROTO_UDP ? 0xffff : sum;
	memcpy(sum_at, &sum, 2);
}

static void set_flow_label(uint8_t *frame, uint32_t label)
{
	uint8_t *at = frame + ETHER_HDR_LEN + 1;

	at[0] = (uint8_t)((at[0] & 0xf0) | label >> 16);
	at[1] = (uint8_t)(label >> 8);
	at[2] = (uint8_t)label;
}

static void build_frame(struct engine *engine, const struct packet_plan *plan, struct probe_frame *frame)
{
	const struct path_state *path = &engine->paths[plan->path];
	uint32_t head = is_v4(path) ? PROBE_HEAD_V4 : PROBE_HEAD_V6;

	frame->path = plan->path;
	frame->place = plan->sequence & (PROBE_RING - 1);
	memcpy(frame->bytes, engine->records[plan->path].way.head, head);
	engine_build(engine, path, plan, frame->bytes + head);
	if (is_v4(path))
		return;
	set_flow_label(frame->bytes, plan->flow_label);
	sum_v6(frame->bytes, path->responder == RESPONDER_ECHO ? IPPROTO_UDP : IPPROTO_ICMPV6);
}

/* The frame that becomes the batch; whether all went is told by the records. */
static void send_frame(const struct device_batch *waiting, bool v4)
{
	static const uint8_t type[2] = {PROBE_BATCH_TYPE >> 8, PROBE_BATCH_TYPE & 0xff};
	uint8_t frame[PROBE_HEAD_V6 + PROBE_LEAST_BYTES] = {0};
	size_t length = (v4 ? PROBE_HEAD_V4 : PROBE_HEAD_V6) + PROBE_LEAST_BYTES;
	const struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6),
		.sll_ifindex = (int)waiting->ifindex,
	};

	memcpy(frame + 2 * ETHER_ADDR_LEN, type, sizeof(type));
	sendto(waiting->sockets->device, frame, length, MSG_DONTWAIT | MSG_NOSIGNAL,
	       (const struct sockaddr *)&to, sizeof(to));
}

static void flush_family(struct engine *engine, int which)
{
	struct device_batch *waiting = &engine->waiting[which];
	uint32_t went = 0;

	if (!waiting->count)
		return;
	engine->batches[which].count = waiting->count;
	send_frame(waiting, which == 0);
	engine->batches[which].count = 0;
	for (uint32_t i = 0; i < waiting->count; i++) {
		const struct packet_plan *plan = &waiting->plans[i];
		struct probe_path *record = &engine->records[plan->path];

		if (record->sent_ns[plan->sequence & (PROBE_RING - 1)]) {
			went++;
			continue;
		}
		record->way.ifindex = 0;
		engine_put(engine, plan);
	}
	waiting->count = 0;
	engine_count(engine, SELF_SENT, went);
	engine_count(engine, SELF_SHORT_CUTS, went);
}

/* Sends what waits for its frame; what does not go that way is gathered for the sockets. */
void engine_flush_device(struct engine *engine)
{
	for (int which = 0; engine->waiting && which < 2; which++)
		flush_family(engine, which);
}

/* Gathers a probe that begins at the device. */
void engine_put_device(struct engine *engine, const struct packet_plan *plan)
{
	const struct path_state *path = &engine->paths[plan->path];
	struct engine_sockets *sockets = sockets_of(engine, path);
	int which = is_v4(path) ? 0 : 1;
	struct device_batch *waiting = &engine->waiting[which];
	uint32_t ifindex = engine->records[plan->path].way.ifindex;

	if (waiting->count &&
	    (waiting->count == PROBE_BATCH || waiting->sockets != sockets || waiting->ifindex != ifindex))
		flush_family(engine, which);
	waiting->sockets = sockets;
	waiting->ifindex = ifindex;
	build_frame(engine, plan, &engine->batches[which].frames[waiting->count]);
	waiting->plans[waiting->count++] = *plan;
}
