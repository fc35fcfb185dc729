// SPDX-License-Identifier: Apache-2.0
/* Reads answers, departure stamps and ICMP errors from the sockets, in batches. Never blocks. */
#include "engine.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#define SLOT_BYTES    512 /* of a message; a longer one is cut, its cookie stands in front */
#define CONTROL_BYTES 256
#define READY_MAX     64
#define ROUNDS_MAX    64 /* batches of one socket before the others get their turn */

struct receive_batch {
	struct mmsghdr messages[ENGINE_BATCH];
	struct iovec vectors[ENGINE_BATCH];
	struct sockaddr_in6 peers[ENGINE_BATCH]; /* large enough for sockaddr_in */
	uint8_t control[ENGINE_BATCH][CONTROL_BYTES];
	uint8_t bytes[ENGINE_BATCH][SLOT_BYTES];
};

int engine_receive_init(struct engine *engine)
{
	/* One for answers, one for the error queue, which is read in between. */
	engine->received = calloc(2, sizeof(*engine->received));
	return engine->received ? 0 : -ENOMEM;
}

void engine_receive_free(struct engine *engine)
{
	free(engine->received);
	engine->received = NULL;
}

static int read_batch(struct engine *engine, struct engine_socket *sock, struct receive_batch *batch,
		      int flags)
{
	int got;

	for (int i = 0; i < ENGINE_BATCH; i++) {
		batch->vectors[i] = (struct iovec){batch->bytes[i], SLOT_BYTES};
		batch->messages[i].msg_hdr = (struct msghdr){.msg_name = &batch->peers[i],
							     .msg_namelen = sizeof(batch->peers[i]),
							     .msg_iov = &batch->vectors[i],
							     .msg_iovlen = 1,
							     .msg_control = batch->control[i],
							     .msg_controllen = CONTROL_BYTES};
	}
	got = recvmmsg(sock->fd, batch->messages, ENGINE_BATCH, flags | MSG_DONTWAIT, NULL);
	if (got > 0 && sock->stamps)
		engine_check_clock(engine);
	return got < 0 ? -errno : got;
}

/* Who sent a packet; of an error, where the quoted packet went. 16 bytes, or false. */
static bool peer_address(const struct msghdr *header, int family, uint8_t *address)
{
	const void *peer = probe_peer(header, family);

	memset(address, 0, 16);
	if (peer)
		memcpy(address, peer, family == 4 ? 4 : 16);
	return peer != NULL;
}

/* The kernel's software stamp among the control messages, as monotonic time; 0: none, or none to believe. */
static uint64_t stamp_of(const struct engine *engine, struct cmsghdr *control)
{
	int64_t real_ns = probe_stamp_ns(control);

	return real_ns && !engine->clock_doubt ? (uint64_t)(real_ns - engine->clock_offset_ns) : 0;
}

/* Cuts `length` bytes off the front, as far as there are. */
static void skip(struct engine_answer *answer, uint32_t length)
{
	length = length < answer->length ? length : answer->length;
	answer->cookie += length;
	answer->length -= length;
}

static void read_answer(struct engine *engine, const struct engine_socket *sock, struct mmsghdr *message)
{
	struct msghdr *header = &message->msg_hdr;
	uint8_t address[16];
	struct engine_answer answer = {
		.cookie = header->msg_iov->iov_base,
		.length = message->msg_len,
		.address = address,
		.family = sock->family,
	};
	struct cmsghdr *control;

	if (!peer_address(header, sock->family, address))
		return;
	for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		uint64_t stamp = stamp_of(engine, control);

		answer.received_ns = stamp ? stamp : answer.received_ns;
		if (probe_hop_limit(control))
			answer.hop_limit = probe_hop_limit(control);
	}
	if (sock->kind == SOCKET_ICMP && sock->raw && sock->family == 4) {
		uint32_t ip_bytes = answer.length ? (answer.cookie[0] & 0xfu) * 4u : 0;

		answer.hop_limit =
			answer.length > PROBE_IP_TTL_OFFSET ? answer.cookie[PROBE_IP_TTL_OFFSET] : 0;
		skip(&answer, ip_bytes);
		/* A raw IPv4 socket sees packets before the kernel has checked their sum; a cut one it cannot
		 * check. */
		if (!(header->msg_flags & MSG_TRUNC) && probe_checksum(answer.cookie, answer.length) != 0) {
			engine_count(engine, SELF_CORRUPT, 1);
			return;
		}
	}
	if (sock->kind == SOCKET_ICMP)
		skip(&answer, 8);
	engine_take_answer(engine, &answer);
}

/* The probe that an ICMP error quotes, from its ICMP or UDP header on; a UDP socket is shown what follows it.
 * False when it is none, or cut too short. */
static bool quoted_path(const struct engine *engine, const struct engine_socket *sock,
			const struct mmsghdr *message, uint32_t *path, uint32_t *sequence)
{
	const uint8_t *bytes = message->msg_hdr.msg_iov->iov_base;
	struct probe_cookie cookie;
	uint32_t header = sock->kind == SOCKET_UDP ? 0 : 8;
	uint8_t address[16];

	if (message->msg_len < header + sizeof(cookie) ||
	    !peer_address(&message->msg_hdr, sock->family, address))
		return false;
	memcpy(&cookie, bytes + header, sizeof(cookie));
	*path = ntohl(cookie.path);
	*sequence = ntohl(cookie.sequence);
	return cookie.magic == htonl(PROBE_MAGIC) &&
	       ntohl(cookie.prober) == (uint32_t)engine->options[OPTION_PROBER] &&
	       *path < engine->paths_max && engine->paths[*path].active &&
	       memcmp(engine->paths[*path].address, address, 16) == 0 &&
	       cookie.nonce == engine_nonce(engine, *path, *sequence, address);
}

static void read_failure(struct engine *engine, const struct engine_socket *sock, struct mmsghdr *message,
			 const struct sock_extended_err *error)
{
	struct engine_failure failure = {.error = error->ee_errno,
					 .mtu = error->ee_errno == EMSGSIZE ? error->ee_info : 0};
	uint32_t sequence;

	if (!quoted_path(engine, sock, message, &failure.path, &sequence)) {
		engine_count(engine, SELF_FOREIGN, 1);
		return;
	}
	failure.offender_family = probe_offender(error, failure.offender);
	if (engine_claim(engine, failure.path, sequence))
		engine_note_failure(engine, &failure);
}

static void read_notice(struct engine *engine, struct engine_socket *sock, struct mmsghdr *message)
{
	struct msghdr *header = &message->msg_hdr;
	struct cmsghdr *control;
	uint64_t stamp = 0;
	bool departed = false;
	uint32_t number = 0;

	for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		const struct sock_extended_err *error = probe_error(control);
		uint64_t found = stamp_of(engine, control);

		stamp = found ? found : stamp;
		if (!error)
			continue;
		if (error->ee_origin == SO_EE_ORIGIN_TIMESTAMPING) {
			departed = true;
			number = error->ee_data;
		} else {
			read_failure(engine, sock, message, error);
		}
	}
	if (departed && stamp && sock->owners && sock->stamp_next - number <= STAMP_OWNERS)
		engine_note_departure(engine, &sock->owners[number % STAMP_OWNERS], stamp);
}

static void drain_notices(struct engine *engine, struct engine_socket *sock)
{
	struct receive_batch *batch = &engine->received[1];

	if (sock->fd < 0)
		return;
	for (int round = 0; round < ROUNDS_MAX; round++) {
		int got = read_batch(engine, sock, batch, MSG_ERRQUEUE);

		for (int i = 0; i < got; i++)
			read_notice(engine, sock, &batch->messages[i]);
		if (got < ENGINE_BATCH)
			return;
	}
}

/* Departures first: an answer is matched with the stamp of its probe. */
static void drain_departures(struct engine *engine, const struct engine_socket *sock)
{
	for (uint32_t i = 0; i < engine->origins; i++) {
		struct engine_sockets *sockets = &engine->sockets[i][sock->family == 4 ? 0 : 1];

		if (sockets->icmp.fd >= 0 && sockets->icmp.stamps && sock->kind == SOCKET_ICMP)
			drain_notices(engine, &sockets->icmp);
		if (sockets->udp_raw.fd >= 0 && sockets->udp_raw.stamps && sock->kind == SOCKET_UDP)
			drain_notices(engine, &sockets->udp_raw);
	}
}

static void drain_answers(struct engine *engine, struct engine_socket *sock)
{
	struct receive_batch *batch = &engine->received[0];

	for (int round = 0; round < ROUNDS_MAX; round++) {
		int got = read_batch(engine, sock, batch, 0);

		/* A pending ICMP error refuses one read; the error itself lies in the error queue. */
		if (got < 0 && got != -EAGAIN && got != -EINTR) {
			probe_take_error(sock->fd);
			got = read_batch(engine, sock, batch, 0);
		}
		if (got <= 0)
			return;
		if (sock->stamps) {
			drain_departures(engine, sock);
			drain_notices(engine, sock);
		}
		for (int i = 0; i < got; i++)
			read_answer(engine, sock, &batch->messages[i]);
		if (got < ENGINE_BATCH)
			return;
	}
}

static void note_drops(struct engine *engine, struct engine_socket *sock)
{
	uint32_t drops = probe_read_memory(sock->fd).drops;

	if (drops != sock->drops)
		engine_note_drops(engine, sock, drops - sock->drops);
	sock->drops = drops;
}

/* Reads all that has arrived. */
void engine_drain(struct engine *engine)
{
	struct epoll_event ready[READY_MAX];
	uint64_t now_ns = probe_now_ns();

	for (int round = 0; round < ROUNDS_MAX; round++) {
		int count = epoll_wait(engine->epoll, ready, READY_MAX, 0);

		for (int i = 0; i < count; i++) {
			struct engine_socket *sock = ready[i].data.ptr;

			if (sock->kind == SOCKET_CHANGES) {
				engine_note_changes(engine, sock);
				continue;
			}
			if (ready[i].events & EPOLLERR)
				drain_notices(engine, sock);
			if (ready[i].events & EPOLLIN) {
				drain_answers(engine, sock);
				note_drops(engine, sock);
			}
		}
		if (count < READY_MAX) {
			engine->clock_doubt = false;
			engine->drained_ns = now_ns;
			return;
		}
	}
}
