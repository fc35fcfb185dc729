/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prober: one thread that sends probes on time, matches answers and keeps a record a path. Every function
 * below the thread's start runs on that thread, unless it says otherwise; each returns 0 or more, or a
 * negative errno. Times are CLOCK_MONOTONIC, ns.
 */
#ifndef CILIATE_ENGINE_H
#define CILIATE_ENGINE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../bpf/lib/probe_structs.h"
#include "../common/clock.h"
#include "../common/message.h"
#include "../common/packet.h"
#include "../common/socket.h"

#define ENGINE_BATCH	   128 /* messages a system call */
#define ENGINE_ORIGINS_MAX 16
#define ENGINE_FLOWS_MAX   64
#define ENGINE_PACKET_MAX  9000u /* bytes of IP */
#define ENGINE_EVENTS_MAX  65536u
#define WHEEL_SLOTS	   1024u
#define NONE		   0xffffffffu
#define NS_PER_MS	   1000000ull

enum engine_mode { MODE_BPF, MODE_RAW, MODE_DATAGRAM };
enum engine_responder { RESPONDER_ICMP, RESPONDER_ECHO };

/* Mirrored in constants.ts, as all enums and records that JavaScript sees; a test compares them. */
enum engine_option {
	OPTION_PROBER, /* random */
	OPTION_ICMP_ID,
	OPTION_PATHS_MAX,
	OPTION_TIMEOUT_MS,
	OPTION_TURN_MS,
	OPTION_PACKETS_PER_SECOND,
	OPTION_BURST,
	OPTION_BURST_SPACING_MS,
	OPTION_SOFT_TIMEOUT_MS,
	OPTION_FLOWS,
	OPTION_DSCP,
	OPTION_RECEIVE_BUFFER, /* bytes asked for */
	OPTION_BATCHES_FD,     /* map of batches that programs send; -1: none */
	OPTION_FIRST_SEQUENCE, /* of every path */
	OPTION_CPU_PERCENT,    /* of one core, at most; 100: all of it */
	OPTION_COUNT,
};

enum engine_command_kind { COMMAND_OPEN = 1, COMMAND_CLOSE, COMMAND_PACE, COMMAND_BURST };

/* What JavaScript asks of the thread. */
struct engine_command {
	uint32_t kind; /* enum engine_command_kind */
	uint32_t path;
	uint32_t generation;   /* OPEN: of this use of the index */
	uint32_t responder;    /* OPEN: enum engine_responder */
	uint32_t origin;       /* OPEN */
	uint32_t family;       /* OPEN */
	uint32_t rotate;       /* OPEN: 0, 1 */
	uint32_t packet_bytes; /* OPEN: of IP; 0: the least */
	uint32_t period_us;    /* OPEN, PACE; 0: none */
	uint32_t count;	       /* BURST */
	uint32_t spacing_us;   /* BURST */
	uint32_t phase_us;     /* OPEN: until the first probe */
	uint8_t address[16];   /* OPEN: network order */
};

enum engine_event_kind { EVENT_SUSPECT = 1, EVENT_SILENT, EVENT_ANSWER, EVENT_ERROR };

struct engine_event {
	uint64_t at_ns;
	uint32_t kind; /* enum engine_event_kind */
	uint32_t path;
	uint32_t generation;
	uint32_t error;		  /* ERROR: errno */
	uint32_t mtu;		  /* ERROR: next-hop MTU of "too big" */
	uint32_t offender_family; /* ERROR: 4, 6; 0: our own kernel */
	uint8_t offender[16];
};

/* What the thread counts of a path, beside the record that receivers write. Read by JavaScript. */
struct probe_account {
	uint64_t sent;
	uint64_t lost;
	uint64_t late; /* seen by the thread; those seen by programs are in the record */
	uint64_t duplicate;
	uint64_t failed;
	uint64_t sent_last_ns;
	uint32_t lost_in_a_row;
	uint32_t generation;
};

enum engine_counter {
	SELF_SENT,
	SELF_OWN_DROPS,
	SELF_FOREIGN,
	SELF_CORRUPT,
	SELF_DEFERRED,
	SELF_LAG_MAX_NS, /* since it was last read */
	SELF_CLOCK_STEPS,
	SELF_CPU_NS,
	SELF_EVENTS_LOST,
	SELF_TURNS,
	SELF_NOW_NS,
	SELF_SHORT_CUTS, /* of those sent: at the device, see engine_device.c */
	SELF_COUNT,
};

/* Packet that a socket sent, by the number that the kernel gives its departure stamp. */
struct stamp_owner {
	uint32_t path;
	uint32_t sequence;
};

enum socket_kind { SOCKET_ICMP, SOCKET_UDP_RAW, SOCKET_UDP, SOCKET_CHANGES };

struct engine_socket {
	int fd; /* -1: not open */
	enum socket_kind kind;
	int family;
	bool raw;
	bool stamps;   /* the kernel stamps what it sends and receives */
	uint16_t port; /* SOCKET_UDP: bound, network order */
	uint16_t id;   /* SOCKET_ICMP: network order */
	uint32_t stamp_next;
	uint32_t drops;		    /* as last read */
	struct stamp_owner *owners; /* STAMP_OWNERS entries */
};

#define STAMP_OWNERS 65536u

/* Sockets of one origin and family. */
struct engine_sockets {
	enum engine_mode mode;
	int error; /* why there are none; 0: there are */
	struct engine_socket icmp;
	struct engine_socket udp_raw; /* sends with the ports of `udp`; not open in datagram mode */
	struct engine_socket udp[ENGINE_FLOWS_MAX];
	/* Where programs send batches; -1: not. */
	int device;
	struct engine_socket changed; /* netlink: of links, addresses, routes and rules */
	uint32_t changes;	      /* heard of */
};

enum path_phase { PHASE_NEW, PHASE_ANSWERING, PHASE_SUSPECT, PHASE_SILENT };

/* What only the thread knows of a path. */
struct path_state {
	bool active;
	bool pending;  /* waits for the budget */
	bool bursting; /* in the list of bursts */
	uint8_t responder;
	uint8_t origin;
	uint8_t family;
	uint8_t rotate;
	uint8_t phase; /* enum path_phase */
	uint16_t packet_bytes;
	uint16_t flow;	    /* next source port and flow label */
	uint8_t way_left;   /* probes that may still take the short cut */
	uint8_t way_misses; /* in a row, after short cuts */
	uint32_t generation;
	uint32_t sequence; /* last sent; never begins anew, goes on from 0 at its end */
	uint32_t next;	   /* in its wheel slot */
	uint32_t slot;	   /* of the wheel; NONE: in none */
	uint32_t turns;	   /* of the wheel that pass before it is due */
	uint32_t burst_left;
	uint32_t burst_spacing_us;
	uint32_t error_last;
	uint64_t burst_next_ns;
	uint64_t period_ns;
	uint64_t due_ns;
	uint64_t error_ns;     /* of the last event */
	uint64_t way_after_ns; /* no short cut before */
	uint32_t way_changes;  /* of the origin, when the whole way was taken last */
	uint8_t address[16];
};

/* A probe under way, in the order they were sent. */
struct flight {
	uint64_t sent_ns;
	uint32_t path;
	uint32_t sequence;
};

/* When sockets of one family and responder had no room for what arrived, and how many answers that may have
 * been. */
struct own_drops {
	uint64_t from_ns, to_ns;
	uint64_t left; /* of those not yet set against a probe */
};

struct engine {
	int32_t options[OPTION_COUNT];
	uint64_t key[2];
	uint64_t timeout_ns;
	uint64_t turn_ns;
	uint64_t quiet_ns; /* whole turns: the turn while all goes well */
	uint64_t soft_ns;
	uint32_t paths_max;

	/* Shared with JavaScript, and the records with programs. */
	struct probe_path *records;
	struct probe_account *accounts;
	_Atomic uint64_t self[SELF_COUNT];

	/* Sockets: made before the thread starts. */
	uint32_t origins;
	struct engine_sockets sockets[ENGINE_ORIGINS_MAX][2];
	int epoll;
	int wake;		 /* eventfd */
	int64_t clock_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
	uint64_t clock_checked_ns;
	bool clock_doubt; /* the wall clock was stepped while packets were queued: no stamp counts */

	/* The thread's own. */
	pthread_t thread;
	bool started;
	_Atomic bool ending;
	struct path_state *paths;
	uint32_t wheel[WHEEL_SLOTS];
	uint64_t wheel_turn; /* number of the turn that was last served */
	uint32_t wheel_count;
	uint32_t *pending;
	uint32_t pending_head, pending_count;
	uint32_t *bursts;
	uint32_t burst_count;
	uint32_t fast;		/* paths whose periods are shorter than quiet_ns */
	uint32_t suspects;	/* paths in PHASE_SUSPECT: their deadlines are kept to the ms */
	struct flight *flights; /* ring */
	uint64_t flight_mask, flight_tail, flight_soft, flight_hard;
	struct own_drops dropped[2][2]; /* family, responder */
	uint64_t drained_ns;		/* sockets were empty last */
	struct flight *slow;		/* beyond the soft deadline of all, not yet of their own */
	uint32_t slow_count, slow_capacity;
	double tokens;
	uint64_t tokens_ns;
	double cpu_left_ns; /* that may be used before probes wait; less than 0: too much was used */
	uint64_t cpu_ns;    /* used, when that was reckoned last */
	uint64_t cpu_at_ns; /* and when that was */
	uint32_t random;
	struct send_batch *batch;
	struct probe_batch *batches;  /* by family: v4, v6; shared with programs; NULL: none */
	struct device_batch *waiting; /* likewise */
	struct receive_batch *received;

	/* Between threads, under the mutex. */
	pthread_mutex_t mutex;
	struct engine_command *commands;
	uint32_t command_count, command_capacity;
	struct engine_event *events;
	uint32_t event_count;
	void (*notify)(void *data); /* an event is there; called on the thread */
	void *notify_data;
};

/* engine_clock.c */
void engine_check_clock(struct engine *engine);

/* engine_cookie.c */
uint64_t engine_nonce(const struct engine *engine, uint32_t path, uint32_t sequence, const uint8_t *address);
uint32_t engine_packet_least(int family);
struct packet_plan {
	uint32_t path;
	uint32_t sequence;
	uint64_t nonce;
	const struct engine_socket *socket;
	uint16_t source_port; /* UDP, network order */
	uint32_t flow_label;  /* IPv6: of the flow, so that networks that hash no ports spread it too */
	uint32_t length;      /* from the ICMP or UDP header */
	bool with_udp_header;
	bool by_thread; /* no program stamps where it leaves */
};
void engine_build(const struct engine *engine, const struct path_state *path, const struct packet_plan *plan,
		  uint8_t *packet);

/* engine_socket.c; the first two on the caller's thread */
struct socket_request {
	uint32_t origin;
	int netns_fd; /* -1: the caller's namespace */
	int family;
	enum engine_mode mode;
	const uint8_t *source; /* NULL: the kernel's choice */
};
int engine_open_sockets(struct engine *engine, const struct socket_request *request);
void engine_close_sockets(struct engine *engine);
int engine_reset_stamps(struct engine_socket *sock);

/* engine_record.c */
struct engine_answer {
	const uint8_t *cookie;
	uint32_t length; /* of the cookie's bytes that are there */
	const uint8_t *address;
	int family;
	uint64_t received_ns; /* 0: not stamped */
	uint32_t hop_limit;
};
int engine_record_init(struct engine *engine);
void engine_record_free(struct engine *engine);
int engine_share_records(struct engine *engine, uint32_t block, int fd);
void engine_take_answer(struct engine *engine, const struct engine_answer *answer);
bool engine_claim(struct engine *engine, uint32_t path, uint32_t sequence);
bool engine_waiting(const struct engine *engine, uint32_t path, uint32_t sequence);
void engine_note_departure(struct engine *engine, const struct stamp_owner *owner, uint64_t sent_ns);
struct engine_failure {
	uint32_t path;
	uint32_t error;
	uint32_t mtu;
	int offender_family;
	uint8_t offender[16];
};
void engine_note_failure(struct engine *engine, const struct engine_failure *failure);

/* engine_receive.c */
int engine_receive_init(struct engine *engine);
void engine_receive_free(struct engine *engine);
void engine_drain(struct engine *engine);

/* engine_send.c */
int engine_send_init(struct engine *engine);
void engine_send_free(struct engine *engine);
bool engine_send(struct engine *engine, uint32_t path, uint64_t now_ns);
void engine_put(struct engine *engine, const struct packet_plan *plan);
void engine_flush(struct engine *engine);

/* engine_device.c; the first two and engine_open_device on the caller's thread */
int engine_device_init(struct engine *engine);
void engine_device_free(struct engine *engine);
void engine_open_device(struct engine *engine, struct engine_sockets *sockets);
void engine_close_device(struct engine_sockets *sockets);
void engine_note_changes(struct engine *engine, struct engine_socket *changed);
bool engine_takes_short_cut(struct engine *engine, uint32_t path, uint64_t now_ns);
void engine_distrust(struct engine *engine, uint32_t path, uint64_t now_ns);
void engine_put_device(struct engine *engine, const struct packet_plan *plan);
void engine_flush_device(struct engine *engine);

/* engine_pace.c */
int engine_pace_init(struct engine *engine);
void engine_pace_free(struct engine *engine);
void engine_apply(struct engine *engine, const struct engine_command *command, uint64_t now_ns);
void engine_serve(struct engine *engine, uint64_t now_ns);
uint64_t engine_next_ns(const struct engine *engine, uint64_t now_ns);

/* engine_deadline.c */
void engine_set_phase(struct engine *engine, uint32_t path, enum path_phase phase);
void engine_note_missed(struct engine *engine, uint32_t path, uint64_t now_ns);
void engine_check_deadlines(struct engine *engine, uint64_t now_ns);
void engine_note_drops(struct engine *engine, const struct engine_socket *sock, uint32_t drops);
void engine_note_lost(struct engine *engine, uint32_t path, uint64_t sent_ns);
void engine_begin_burst(struct engine *engine, uint32_t path, uint32_t count, uint32_t spacing_us,
			uint64_t now_ns);

/* engine_thread.c; called on JavaScript's thread, but for the event */
int engine_create(struct engine *engine, const int32_t options[OPTION_COUNT],
		  const uint8_t key[PROBE_KEY_BYTES]);
int engine_start(struct engine *engine);
void engine_stop(struct engine *engine);
void engine_destroy(struct engine *engine);
int engine_command(struct engine *engine, const struct engine_command *commands, uint32_t count);
uint32_t engine_take_events(struct engine *engine, struct engine_event *events, uint32_t capacity);
void engine_note_cpu(struct engine *engine);
void engine_event(struct engine *engine, const struct engine_event *event);

static inline void engine_count(struct engine *engine, enum engine_counter counter, uint64_t by)
{
	atomic_fetch_add_explicit(&engine->self[counter], by, memory_order_relaxed);
}

#endif
