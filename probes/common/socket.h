/* SPDX-License-Identifier: Apache-2.0 */
/* Setting up a socket that sends probes. Each function returns 0 or more, or a negative errno. */
#ifndef CILIATE_PROBE_SOCKET_H
#define CILIATE_PROBE_SOCKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Runs `work` inside a network namespace; -1: the caller's. A socket belongs to the namespace it was made in,
 * and only a thread of its own may enter another: the caller waits for it and stays where it is. */
int probe_in_netns(int netns_fd, int (*work)(void *data), void *data);

struct socket_name {
	int family;		/* 4, 6 */
	const uint8_t *address; /* 4 or 16 bytes, network order; NULL: any */
	uint16_t port;		/* network order */
	uint32_t scope_id;	/* IPv6; 0: none */
	uint32_t flow_label;	/* IPv6; 0: the kernel's choice. Heard where `flow_labels` is set */
};

/* Returns the length. */
socklen_t probe_sockaddr(struct sockaddr_in6 *out, const struct socket_name *name);

int probe_bind(int fd, const struct socket_name *name);

/* Port that a socket is bound to, of a datagram ICMP socket its identifier; network order. */
int probe_bound_port(int fd, uint16_t *port);

int probe_set_int(int fd, int level, int option, int value);

struct probe_ip_options {
	int family;
	bool errors;	    /* ICMP errors come through the error queue */
	bool hop_limits;    /* packets come with their hop limit */
	int discover;	    /* IP_PMTUDISC_* */
	bool dont_fragment; /* IPv6 */
	bool flow_labels;   /* IPv6: each message's name has its own */
	int traffic_class;  /* TOS or traffic class byte; 0: the system's default */
	int hop_limit;	    /* 0: the system's default */
};

int probe_set_ip_options(int fd, const struct probe_ip_options *options);

/* Only echo replies that carry the identifier, in network order, cross into user space. */
int probe_filter_echoes(int fd, int family, uint16_t id);

/* Nothing does: the socket sends only. */
int probe_filter_all(int fd);

/* Unprivileged, the kernel caps it at net.core.rmem_max; what it granted probe_read_memory() tells. */
void probe_set_receive_buffer(int fd, int bytes);

/* The kernel stamps what the socket sends and receives, and numbers what it sent: from 0, and from 0 again
 * after a reset. */
int probe_set_stamps(int fd);
int probe_reset_stamps(int fd);

/* Clears and returns the pending error, so that no send is refused for an earlier probe's ICMP error. */
int probe_take_error(int fd);

struct probe_memory {
	uint32_t drops;		 /* packets that the kernel had no room for, since the socket was opened */
	uint32_t receive_buffer; /* bytes */
};

/* The same counter that SO_RXQ_OVFL attaches to each packet, read when wanted: costs nothing a packet and is
 * right even when no packet follows the loss. Zero where the kernel does not say. */
struct probe_memory probe_read_memory(int fd);

#endif
