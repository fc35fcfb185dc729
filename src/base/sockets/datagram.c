// SPDX-License-Identifier: Apache-2.0
/*
 * Sockets of a proxy for datagrams: listeners that are told where a datagram was sent to, and sockets that
 * speak to a server from the address and port of a client. All are in one epoll set, so that one call reads
 * many.
 */
#include "datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONTROL_BYTES 128
#define FIRST_SIZE    64

/* A tag is the entry's index and, above it, how often it was used: one that was freed fits no later socket.
 */
struct datagram_entry {
	int fd; /* -1: free */
	uint16_t uses;
	bool v6;
	bool listener;
	uint32_t next; /* when free */
};

int datagram_open(struct datagram_set *set)
{
	*set = (struct datagram_set){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	return set->epoll_fd < 0 ? -errno : 0;
}

void datagram_close(struct datagram_set *set)
{
	for (uint32_t i = 0; i < set->size; i++)
		if (set->entries[i].fd >= 0)
			close(set->entries[i].fd);
	if (set->epoll_fd >= 0)
		close(set->epoll_fd);
	free(set->entries);
	*set = (struct datagram_set){.epoll_fd = -1};
}

static int grow(struct datagram_set *set)
{
	uint32_t size = set->size ? set->size * 2 : FIRST_SIZE;
	struct datagram_entry *entries;

	if (size > DATAGRAM_MAX_SOCKETS)
		return -EMFILE;
	entries = realloc(set->entries, size * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (uint32_t i = set->size; i < size; i++)
		entries[i] = (struct datagram_entry){.fd = -1, .next = i + 1};
	set->free = set->size;
	set->entries = entries;
	set->size = size;
	return 0;
}

static uint32_t tag_of(const struct datagram_set *set, uint32_t index)
{
	return (uint32_t)set->entries[index].uses << 16 | index;
}

static struct datagram_entry *find(const struct datagram_set *set, uint32_t tag)
{
	uint32_t index = tag & 0xffff;

	if (index >= set->size || set->entries[index].fd < 0 || set->entries[index].uses != tag >> 16)
		return NULL;
	return &set->entries[index];
}

/* Takes the descriptor over when it succeeds. */
static int enter(struct datagram_set *set, const struct datagram_entry *entry, uint32_t *tag)
{
	struct epoll_event event = {.events = EPOLLIN};
	uint32_t index;
	int err;

	if (set->free >= set->size) {
		err = grow(set);
		if (err)
			return err;
	}
	index = set->free;
	event.data.u32 = index;
	if (epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, entry->fd, &event))
		return -errno;
	set->free = set->entries[index].next;
	set->entries[index].fd = entry->fd;
	set->entries[index].v6 = entry->v6;
	set->entries[index].listener = entry->listener;
	set->entries[index].uses++;
	set->count++;
	*tag = tag_of(set, index);
	return 0;
}

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

/* Reads a bound datagram socket from now on, and closes it in the end. */
int datagram_add(struct datagram_set *set, int fd, bool v6, uint32_t *tag)
{
	struct datagram_entry entry = {.fd = fd, .v6 = v6, .listener = true};

	if (v6 ? set_int(fd, SOL_IPV6, IPV6_RECVORIGDSTADDR, 1) : set_int(fd, SOL_IP, IP_RECVORIGDSTADDR, 1))
		return -errno;
	return enter(set, &entry, tag);
}

static socklen_t socket_address(struct sockaddr_in6 *out, const uint8_t *address, uint32_t port, bool v6)
{
	struct sockaddr_in *v4 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (v6) {
		out->sin6_family = AF_INET6;
		out->sin6_port = htons(port);
		memcpy(&out->sin6_addr, address, 16);
		return sizeof(*out);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	memcpy(&v4->sin_addr, address, 4);
	return sizeof(*v4);
}

static int configure(int fd, const struct datagram_flow *flow, bool v6, uint32_t mark)
{
	struct sockaddr_in6 address;
	socklen_t length;

	if (mark && set_int(fd, SOL_SOCKET, SO_MARK, mark))
		return -1;
	if (v6 ? set_int(fd, SOL_IPV6, IPV6_TRANSPARENT, 1) : set_int(fd, SOL_IP, IP_TRANSPARENT, 1))
		return -1;
	/* A client may speak to several servers from one port. */
	if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1))
		return -1;
	length = socket_address(&address, flow->client, flow->client_port, v6);
	if (bind(fd, (struct sockaddr *)&address, length))
		return -1;
	length = socket_address(&address, flow->server, flow->server_port, v6);
	return connect(fd, (struct sockaddr *)&address, length);
}

/* A socket at the client's address and port, connected to the server. */
int datagram_connect(struct datagram_set *set, const struct datagram_flow *flow, bool v6, uint32_t mark,
		     uint32_t *tag)
{
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct datagram_entry entry = {.fd = fd, .v6 = v6};
	int err = 0;

	if (fd < 0)
		return -errno;
	if (configure(fd, flow, v6, mark))
		err = -errno;
	if (!err)
		err = enter(set, &entry, tag);
	if (err)
		close(fd);
	return err;
}

int datagram_remove(struct datagram_set *set, uint32_t tag)
{
	struct datagram_entry *entry = find(set, tag);

	if (!entry)
		return -ENOENT;
	close(entry->fd);
	entry->fd = -1;
	entry->next = set->free;
	set->free = tag & 0xffff;
	set->count--;
	return 0;
}

int datagram_send(struct datagram_set *set, uint32_t tag, const void *bytes, size_t length)
{
	struct datagram_entry *entry = find(set, tag);

	if (!entry)
		return -ENOENT;
	/* An ICMP error about an earlier datagram refuses one call; the next one goes out. */
	if (send(entry->fd, bytes, length, MSG_DONTWAIT) < 0 &&
	    send(entry->fd, bytes, length, MSG_DONTWAIT) < 0)
		return -errno;
	return 0;
}

static void read_address(uint8_t *address, uint32_t *port, const void *from, bool v6)
{
	const struct sockaddr_in6 *six = from;
	const struct sockaddr_in *four = from;

	memcpy(address, v6 ? (const void *)&six->sin6_addr : (const void *)&four->sin_addr, v6 ? 16 : 4);
	*port = ntohs(v6 ? six->sin6_port : four->sin_port);
}

static void read_flow(struct datagram_flow *flow, struct msghdr *header, bool v6)
{
	int level = v6 ? SOL_IPV6 : SOL_IP;
	int type = v6 ? IPV6_ORIGDSTADDR : IP_ORIGDSTADDR;
	struct cmsghdr *control;

	for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		if (control->cmsg_level != level || control->cmsg_type != type)
			continue;
		read_address(flow->server, &flow->server_port, CMSG_DATA(control), v6);
		read_address(flow->client, &flow->client_port, header->msg_name, v6);
	}
}

/* What there is to say of a socket that read nothing. Returns how many records it wrote. */
static uint32_t read_error(const struct datagram_set *set, uint32_t index, struct datagram_record *record)
{
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	*record = (struct datagram_record){.tag = tag_of(set, index), .error = errno};
	return 1;
}

/* Reads one datagram of a connected socket into a slot: most have one, and a second one is told of again. */
static uint32_t read_connected(struct datagram_set *set, uint32_t index, uint8_t *bytes,
			       struct datagram_record *records, uint32_t slot)
{
	ssize_t got = recv(set->entries[index].fd, bytes + (size_t)slot * DATAGRAM_SLOT_BYTES,
			   DATAGRAM_SLOT_BYTES, MSG_DONTWAIT);

	if (got < 0)
		return read_error(set, index, &records[slot]);
	records[slot] =
		(struct datagram_record){.tag = tag_of(set, index), .length = (uint32_t)got, .slot = slot};
	return 1;
}

/* Reads up to the room that is left of one listener into slots from `slot` on. Returns how many records it
 * wrote. */
static uint32_t read_listener(struct datagram_set *set, uint32_t index, uint8_t *bytes,
			      struct datagram_record *records, uint32_t slot)
{
	static __thread struct mmsghdr messages[DATAGRAM_BATCH];
	static __thread struct iovec vectors[DATAGRAM_BATCH];
	static __thread struct sockaddr_in6 peers[DATAGRAM_BATCH];
	static __thread uint8_t control[DATAGRAM_BATCH][CONTROL_BYTES];
	const struct datagram_entry *entry = &set->entries[index];
	uint32_t room = DATAGRAM_BATCH - slot;
	int got;

	for (uint32_t i = 0; i < room; i++) {
		vectors[i] =
			(struct iovec){bytes + (size_t)(slot + i) * DATAGRAM_SLOT_BYTES, DATAGRAM_SLOT_BYTES};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
		messages[i].msg_hdr.msg_name = &peers[i];
		messages[i].msg_hdr.msg_namelen = sizeof(peers[i]);
		messages[i].msg_hdr.msg_control = control[i];
		messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
	}
	got = recvmmsg(entry->fd, messages, room, MSG_DONTWAIT, NULL);
	if (got < 0)
		return read_error(set, index, &records[slot]);
	for (uint32_t i = 0; i < (uint32_t)got; i++) {
		records[slot + i] = (struct datagram_record){
			.tag = tag_of(set, index), .length = messages[i].msg_len, .slot = slot + i};
		read_flow(&records[slot + i].flow, &messages[i].msg_hdr, entry->v6);
	}
	return (uint32_t)got;
}

/* Fills up to DATAGRAM_BATCH records and as many slots of `bytes`. Returns how many; 0: nothing waits. */
int datagram_receive(struct datagram_set *set, uint8_t *bytes, struct datagram_record *records)
{
	struct epoll_event events[DATAGRAM_BATCH];
	int ready = epoll_wait(set->epoll_fd, events, DATAGRAM_BATCH, 0);
	uint32_t count = 0;

	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < ready && count < DATAGRAM_BATCH; i++) {
		uint32_t index = events[i].data.u32;

		count += set->entries[index].listener ? read_listener(set, index, bytes, records, count)
						      : read_connected(set, index, bytes, records, count);
	}
	return (int)count;
}
