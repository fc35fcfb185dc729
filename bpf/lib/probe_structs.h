/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the prober's thread, the programs of health.bpf.c and TypeScript share: the cookie in a probe's
 * payload and the record of a path. The record lies in BPF maps where programs measure, in plain memory
 * where the thread does: its readers see no difference.
 */
#ifndef CILIATE_PROBE_STRUCTS_H
#define CILIATE_PROBE_STRUCTS_H

#include <linux/types.h>

#define PROBE_MAGIC   0x43694c32u /* "CiL2" */
#define PROBE_RING    16	  /* probes of one path under way; a power of 2 */
#define PROBE_BUCKETS 96
#define PROBE_PORT    4240   /* UDP, of the echo responder */
#define PROBE_MARK    0xb00u /* on packets of probes' sockets: what the egress program looks at */

/*
 * Many probes for one: the prober hands a frame of this EtherType (for experiments, IEEE 802: no host takes
 * it) and with this bit of the mark to the device, and the egress program sends the batch that waits in its
 * map.
 */
#define PROBE_BATCH	  8 /* probes of a batch: more would wait for each other */
#define PROBE_BATCH_BIT	  0x1000u
#define PROBE_BATCH_TYPE  0x88b5
#define PROBE_HEAD_V4	  34 /* bytes of Ethernet and IP */
#define PROBE_HEAD_V6	  54
#define PROBE_LEAST_BYTES 40 /* behind them, of the smallest probe */
#define PROBE_WAY_SHIFT	  20 /* 2^20 ns, some ms */

enum probe_cookie_flag {
	PROBE_WANTS_ECHO = 1, /* for the BPF responder; else only the stack may answer */
	PROBE_ECHOED = 2,     /* written by the BPF responder */
	PROBE_BY_THREAD = 4,  /* its prober's thread stamps: programs on the way leave the answer alone */
};

/* The first bytes of a probe's payload, behind the ICMP echo or UDP header. 32 bytes, network order. */
struct probe_cookie {
	__be32 magic;
	__u8 version; /* 1 */
	__u8 flags;   /* enum probe_cookie_flag */
	__be16 reserved;
	__be32 prober;	     /* random, of one start of a prober */
	__be32 path;	     /* index of the record */
	__be32 sequence;     /* of the path's probes, from 1; after 2^32 - 1 comes 0 */
	__be32 residence_ns; /* by the responder: from its ingress to its egress; 0: not told */
	__be64 nonce;	     /* keyed digest of prober, path and sequence: nobody else can make it */
};

/* How the kernel sent a path's smallest probe last. Only what left as a plain frame is known. */
struct probe_way {
	__u32 ifindex; /* 0: not known */
	__u32 learned; /* CLOCK_MONOTONIC >> PROBE_WAY_SHIFT */
	__u8 head[PROBE_HEAD_V6];
	__u8 pad[2];
};

/*
 * One path, at index `path` of the cookie. Who writes: S the prober's thread, R whoever receives (the ingress
 * program, or the thread), E whoever stamps departures (the egress program, or the thread). Times are
 * CLOCK_MONOTONIC, ns.
 *
 * 1. S puts the nonce of sequence n in nonce[n % PROBE_RING] and 0 in sent_ns there, then sends.
 * 2. E puts the time in sent_ns when the packet leaves.
 * 3. R takes a reply whose nonce stands at its place: it exchanges it for 0 in one atomic step, and whoever
 *    wins counts. Every other reply goes up to the thread, which tells late, duplicate and foreign apart.
 * 4. S, at the deadline, takes what still stands there by the same step: that probe is lost.
 */
struct probe_path {
	__u64 nonce[PROBE_RING];   /* S, R */
	__u64 sent_ns[PROBE_RING]; /* E */
	/* S: ~sequence of the probe that waits here. R: its sequence, once answered: a duplicate is none late
	 */
	__u32 answered_sequence[PROBE_RING];
	__u8 address[16]; /* S: who may answer; network order, IPv4 in the first 4 */
	__u32 family;	  /* S: 4, 6; 0: no path here */
	__u32 timeout_us; /* S: an answer after it is late */
	__u64 answered;	  /* R, as all below */
	__u64 echoed;	  /* of them by a BPF responder */
	__u64 unstamped;  /* of them without a departure stamp: in no time below */
	__u64 reordered;  /* of them after an answer to a later probe */
	__u64 late;	  /* not of them: lost, as far as anybody waited */
	__u64 rtt_sum_ns;
	__u64 rtt_max_ns; /* since the reader last put 0 here */
	__u64 rtt_last_ns;
	__u64 answered_last_ns;
	__u64 residence_sum_ns; /* of echoed answers, where it is no longer than the round trip */
	__u32 sequence_last;	/* highest that was answered */
	__u32 hop_limit_last;
	__u32 histogram[PROBE_BUCKETS]; /* see probe_bucket */
	struct probe_way way;		/* E; S forgets it */
};

/*
 * Records that programs write lie in maps of so many, each made when the first of its paths is opened. Of a
 * power of two of at least 1,024 records, each a multiple of 4 bytes, the memory is whole pages.
 */
#define PROBE_BLOCK 1024

/* A probe of a batch. Written by the prober's thread. */
struct probe_frame {
	__u32 path;
	__u32 place; /* in the path's ring */
	__u8 bytes[PROBE_HEAD_V6 + PROBE_LEAST_BYTES];
	__u8 pad[2];
};

/* What the next frame of a family becomes. What did not go has no departure in its record. */
struct probe_batch {
	__u32 count;
	__u32 pad;
	struct probe_frame frames[PROBE_BATCH];
};

/*
 * Bucket of a round trip: four a power of two from 1024 ns on. Bucket 0 holds all below 1280 ns, the last one
 * all from 15 s on. The lower edge of bucket b > 0 is (4 + (b & 3)) << (8 + (b >> 2)).
 */
static inline __attribute__((always_inline)) __u32 probe_bucket(__u64 ns)
{
	__u32 shift = 0;
	__u64 rest = ns >> 8; /* 4 .. 7 once shifted down: two bits below the leading one */

	if (rest < 4)
		return 0;
	while (shift < PROBE_BUCKETS / 4 - 1 && rest > 7) {
		rest >>= 1;
		shift++;
	}
	if (rest > 7)
		return PROBE_BUCKETS - 1;
	return shift * 4 + (__u32)(rest - 4);
}

/* health.bpf.c: address of a node -> may ask for echoes, and which of its packets are answers. */
struct probe_address {
	__u8 bytes[16]; /* network order; IPv4 in the first 4 */
	__u32 family;	/* 4, 6 */
};

/* Per CPU: what the programs saw. */
struct probe_counters {
	__u64 stamped;
	__u64 consumed;
	__u64 passed_up; /* our magic and prober, no nonce of ours or a wrong sum: for the thread */
	__u64 echoed;
	__u64 refused_address; /* echoes asked for by an address that is no node's */
	__u64 refused_form;    /* wrong length or flags */
	__u64 refused_rate;
};

#endif
