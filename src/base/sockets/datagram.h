/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the datagram proxy's sockets share. */
#ifndef CILIATE_DATAGRAM_H
#define CILIATE_DATAGRAM_H

#include <netinet/in.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Layouts and numbers below are mirrored in datagrams.ts. */

#define DATAGRAM_MAX_SOCKETS 65536
#define DATAGRAM_BATCH	     32	   /* messages a system call, and slots of a receive buffer */
#define DATAGRAM_SLOT_BYTES  65536 /* longer than any datagram */

/* The two ends of a flow. Addresses in network order, IPv4 in the first 4 bytes; ports in host order. */
struct datagram_flow {
	uint8_t client[16];
	uint8_t server[16];
	uint32_t client_port;
	uint32_t server_port;
};

/* What was read from one socket; 16 words. */
struct datagram_record {
	uint32_t tag;
	uint32_t error; /* errno of the socket: nothing was read */
	uint32_t length;
	uint32_t slot; /* the datagram is at slot * DATAGRAM_SLOT_BYTES */
	/* Of a listener: who sent it, and where it was sent to. A client port of 0: the kernel did not say.
	 */
	struct datagram_flow flow;
	uint32_t reserved[2];
};

/* Sockets that are read together. */
struct datagram_set {
	int epoll_fd;
	uint32_t count; /* of entries in use */
	uint32_t free;	/* first free entry, or `size` */
	uint32_t size;
	struct datagram_entry *entries;
};

/* datagram.c: each returns 0 or more, or a negative errno. Never block. */
int datagram_open(struct datagram_set *set);
void datagram_close(struct datagram_set *set);
int datagram_add(struct datagram_set *set, int fd, bool v6, uint32_t *tag);
int datagram_connect(struct datagram_set *set, const struct datagram_flow *flow, bool v6, uint32_t mark,
		     uint32_t *tag);
int datagram_remove(struct datagram_set *set, uint32_t tag);
int datagram_send(struct datagram_set *set, uint32_t tag, const void *bytes, size_t length);
int datagram_receive(struct datagram_set *set, uint8_t *bytes, struct datagram_record *records);

/* datagram_reply.c */
int datagram_reply(int fd, const struct datagram_flow *flow, bool v6, const uint8_t *bytes, size_t length);

/* datagram_addon.c */
bool datagram_functions(napi_env env, napi_value exports);

#endif
