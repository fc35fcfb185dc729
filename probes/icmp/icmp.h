/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the ICMP addon share: one socket, its packet templates and its record layouts. */
#ifndef CILIATE_ICMP_H
#define CILIATE_ICMP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "../common/clock.h"
#include "../common/message.h"
#include "../common/packet.h"
#include "../common/socket.h"

/* Layouts and indices below are mirrored in constants.ts; test/probes/icmp-layout.test.ts compares them. */

#define ICMP_BATCH_MAX	  64 /* messages a system call */
#define ICMP_HEADER_BYTES 8
#define ICMP_COOKIE_BYTES 24	      /* magic, path, sequence, zero, 64-bit MAC: all in network order */
#define ICMP_MAGIC	  0x43694c31u /* "CiL1" */

enum icmp_param {
	PARAM_FAMILY,	      /* 4 or 6 */
	PARAM_KIND,	      /* enum icmp_kind */
	PARAM_NETNS_FD,	      /* -1: the caller's namespace */
	PARAM_SCOPE_ID,	      /* of the source address, 0 for none */
	PARAM_TRAFFIC_CLASS,  /* TOS / traffic class byte */
	PARAM_DONT_FRAGMENT,  /* 0 or 1 */
	PARAM_HOP_LIMIT,      /* 0: the system's default */
	PARAM_RECEIVE_BUFFER, /* bytes asked for */
	PARAM_ID,	      /* ICMP identifier, host order; raw sockets only */
	PARAM_PAYLOAD_BYTES,  /* >= ICMP_COOKIE_BYTES */
	PARAM_COUNT,
};

enum icmp_kind { KIND_RAW, KIND_DATAGRAM };

/* One probe to send; filled by JavaScript. */
struct icmp_send_record {
	uint8_t address[16]; /* network order; IPv4 in the first 4 bytes */
	uint32_t path;
	uint32_t sequence;
	uint32_t scope_id;
	uint32_t padding;
};

enum icmp_reply_class { REPLY_GENUINE, REPLY_FOREIGN, REPLY_CORRUPT };
enum icmp_record_flag { FLAG_CLOCK_STEPPED = 1, FLAG_NO_STAMP = 2 };

/* One packet received. */
struct icmp_reply_record {
	double received_ns; /* monotonic, since the socket was opened */
	uint32_t path;
	uint32_t sequence;
	uint32_t class;	    /* enum icmp_reply_class */
	uint32_t hop_limit; /* 0: not told */
	uint32_t length;    /* bytes of payload */
	uint32_t flags;	    /* enum icmp_record_flag */
};

enum icmp_notice_kind { NOTICE_SENT = 1, NOTICE_ERROR = 2, NOTICE_SHORT_ERROR = 3, NOTICE_FOREIGN = 4 };

/* One message of the socket's error queue: a transmit stamp, or an ICMP error about a probe. */
struct icmp_notice_record {
	double stamp_ns;   /* NOTICE_SENT: monotonic, since the socket was opened */
	uint32_t kind;	   /* enum icmp_notice_kind */
	uint32_t stamp_id; /* NOTICE_SENT: the n-th packet of this socket since the last reset, from 0 */
	uint32_t path;	   /* NOTICE_ERROR */
	uint32_t sequence; /* NOTICE_ERROR; NOTICE_SHORT_ERROR: its low 16 bits */
	uint32_t error;	   /* errno */
	uint32_t origin;   /* SO_EE_ORIGIN_* */
	uint32_t type;
	uint32_t code;
	uint32_t mtu;	      /* next-hop MTU of "too big", else 0 */
	uint32_t flags;	      /* enum icmp_record_flag */
	uint8_t offender[16]; /* who sent the error; zero if local */
	uint8_t target[16];   /* errors: where the quoted packet went, as SendRecord has it */
};

enum icmp_counter {
	COUNTER_RECEIVE_OVERFLOW, /* packets the kernel dropped because our buffer was full */
	COUNTER_CLOCK_STEPS,	  /* jumps of the wall clock seen between stamps */
	COUNTER_RECEIVE_BUFFER,	  /* bytes the kernel granted */
	COUNTER_ID,		  /* identifier on the wire, host order */
	COUNTER_STAMPS,		  /* 1: the kernel stamps both ways, 0: it refused */
	COUNTER_COUNT,
};

struct icmp_socket {
	int fd;
	int family;
	enum icmp_kind kind;
	uint16_t id; /* network order */
	uint32_t payload_bytes;
	uint32_t packet_bytes; /* ICMP header and payload */
	uint32_t slot_bytes;   /* one receive buffer */
	uint32_t slots;	       /* messages a system call, <= ICMP_BATCH_MAX */
	bool stamps;
	uint64_t base_ns;	 /* CLOCK_MONOTONIC at open */
	int64_t clock_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
	uint32_t clock_steps;
	uint64_t key[2];
	uint8_t *send_buffer;	 /* slots * packet_bytes, prefilled */
	uint8_t *receive_buffer; /* slots * slot_bytes */
};

/* icmp_socket.c: each returns 0 or more, or a negative errno. */
int icmp_open(struct icmp_socket *sock, const int32_t params[PARAM_COUNT], const uint8_t key[PROBE_KEY_BYTES],
	      const uint8_t *source);
void icmp_close(struct icmp_socket *sock);
void icmp_read_counters(struct icmp_socket *sock, double counters[COUNTER_COUNT]);

/* icmp_clock.c */
bool icmp_check_clock(struct icmp_socket *sock);

/* icmp_packet.c */
struct icmp_origin {
	const uint8_t *packet; /* from the ICMP header */
	uint32_t length;
	const void *address; /* the peer's, struct in_addr or in6_addr; NULL: not told */
};
void icmp_template(const struct icmp_socket *sock, uint8_t *packet);
void icmp_fill(const struct icmp_socket *sock, uint8_t *packet, const struct icmp_send_record *record);
bool icmp_quoted(const struct icmp_socket *sock, const struct icmp_origin *origin,
		 struct icmp_notice_record *notice);
void icmp_classify(const struct icmp_socket *sock, const struct icmp_origin *origin,
		   struct icmp_reply_record *reply);

/* icmp_transfer.c */
int icmp_send(struct icmp_socket *sock, const struct icmp_send_record *records, uint32_t count);
int icmp_receive(struct icmp_socket *sock, struct icmp_reply_record *records, uint32_t capacity);
int icmp_notices(struct icmp_socket *sock, struct icmp_notice_record *records, uint32_t capacity);

#endif
