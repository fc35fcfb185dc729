// SPDX-License-Identifier: Apache-2.0
/* Builds probes and hands them to the kernel, a batch a socket. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define BATCH_BYTES  (64u * 1024u)
#define GOLDEN_RATIO 0x9e3779b1u /* of 2^32: its multiples lie far apart */

/* Probes of one socket that wait for the call. */
struct send_batch {
	struct engine_socket *socket;
	uint32_t count;
	uint32_t used; /* of `bytes` */
	struct mmsghdr messages[ENGINE_BATCH];
	struct iovec vectors[ENGINE_BATCH];
	struct sockaddr_in6 peers[ENGINE_BATCH]; /* large enough for sockaddr_in */
	struct stamp_owner owners[ENGINE_BATCH];
	uint8_t bytes[BATCH_BYTES];
};

int engine_send_init(struct engine *engine)
{
	engine->batch = calloc(1, sizeof(*engine->batch));
	return engine->batch ? 0 : -ENOMEM;
}

void engine_send_free(struct engine *engine)
{
	free(engine->batch);
	engine->batch = NULL;
}

/* The errno of a send means something else than that the machine is busy. */
static bool refused(int error)
{
	return error != EAGAIN && error != ENOBUFS && error != ENOMEM && error != EINTR;
}

static void note_refused(struct engine *engine, const struct stamp_owner *owner, int error)
{
	struct engine_failure failure = {.path = owner->path, .error = (uint32_t)error};

	if (engine_claim(engine, owner->path, owner->sequence))
		engine_note_failure(engine, &failure);
}

static void note_sent(struct engine_socket *sock, const struct stamp_owner *owners, uint32_t count)
{
	for (uint32_t i = 0; sock->owners && i < count; i++)
		sock->owners[sock->stamp_next++ % STAMP_OWNERS] = owners[i];
}

/* Another socket of the namespace may hold labels for itself, and no label can be chosen then (older kernels
 * never let one): the kernel's own does. */
static void drop_labels(struct send_batch *batch, uint32_t from)
{
	for (uint32_t i = from; batch->socket->family == 6 && i < batch->count; i++)
		batch->peers[i].sin6_flowinfo = 0;
}

/* The first of `from` was not sent. Returns whether to go on behind it. */
static bool pass_over(struct engine *engine, struct send_batch *batch, uint32_t from, int error, bool retried)
{
	struct engine_socket *sock = batch->socket;

	/* An earlier probe's ICMP error refuses one send: once more before it is taken for this one's. */
	if (!retried && refused(error)) {
		probe_take_error(sock->fd);
		if (error == EINVAL)
			drop_labels(batch, from);
		return false;
	}
	note_refused(engine, &batch->owners[from], error);
	/* Whether the kernel numbered the refused packet is not told. */
	if (sock->stamps)
		engine_reset_stamps(sock);
	return true;
}

/* Sends what has been gathered for the socket. A machine that is busy loses probes by its own fault: they
 * count as failed.
 */
static void flush_socket(struct engine *engine)
{
	struct send_batch *batch = engine->batch;
	uint32_t done = 0;
	bool retried = false;

	while (done < batch->count) {
		int sent = sendmmsg(batch->socket->fd, batch->messages + done, batch->count - done,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			note_sent(batch->socket, batch->owners + done, (uint32_t)sent);
			engine_count(engine, SELF_SENT, (uint64_t)sent);
			done += (uint32_t)sent;
			retried = false;
			continue;
		}
		if (pass_over(engine, batch, done, errno, retried)) {
			done++;
			retried = false;
		} else {
			retried = true;
		}
	}
	batch->count = 0;
	batch->used = 0;
	batch->socket = NULL;
}

/* Sends all that has been gathered. */
void engine_flush(struct engine *engine)
{
	engine_flush_device(engine);
	flush_socket(engine);
}

/* Room for one more packet of this socket. @returns its index */
static uint32_t make_room(struct engine *engine, const struct packet_plan *plan)
{
	struct send_batch *batch = engine->batch;
	uint32_t i;

	if (batch->count == ENGINE_BATCH || batch->used + plan->length > BATCH_BYTES ||
	    (batch->socket && batch->socket != plan->socket))
		flush_socket(engine);
	i = batch->count++;
	batch->socket = (struct engine_socket *)plan->socket;
	batch->vectors[i] = (struct iovec){batch->bytes + batch->used, plan->length};
	batch->used += (plan->length + 63u) & ~63u;
	if (batch->used > BATCH_BYTES)
		batch->used = BATCH_BYTES;
	return i;
}

static void set_peer(struct send_batch *batch, uint32_t i, const struct path_state *path,
		     const struct packet_plan *plan)
{
	bool raw = plan->with_udp_header || path->responder == RESPONDER_ICMP;
	struct msghdr *header = &batch->messages[i].msg_hdr;
	const struct socket_name name = {
		.family = path->family,
		.address = path->address,
		.port = path->responder == RESPONDER_ECHO && !raw ? htons(PROBE_PORT) : 0,
		.flow_label = plan->flow_label,
	};

	header->msg_name = &batch->peers[i];
	header->msg_namelen = probe_sockaddr(&batch->peers[i], &name);
}

/* 20 bits, far apart from those of the flows beside it, and never 0, which leaves the choice to the kernel.
 */
static uint32_t flow_label(const struct engine *engine, uint32_t flow)
{
	return ((uint32_t)engine->options[OPTION_PROBER] + flow * GOLDEN_RATIO) >> 12 | 1;
}

/* Socket, source port and flow label of the path's next probe; no socket where the family has none. */
static void choose(struct engine *engine, struct path_state *path, struct packet_plan *plan)
{
	const struct engine_sockets *sockets = &engine->sockets[path->origin][path->family == 4 ? 0 : 1];
	uint32_t flows = (uint32_t)engine->options[OPTION_FLOWS];
	uint32_t flow = path->flow % (flows ? flows : 1);
	const struct engine_socket *udp = &sockets->udp[flow];

	if (sockets->error || (path->responder == RESPONDER_ECHO && !flows))
		return;
	if (path->rotate)
		path->flow = (uint16_t)(flow + 1);
	plan->flow_label = flow_label(engine, flow);
	plan->socket = &sockets->icmp;
	if (path->responder == RESPONDER_ICMP)
		return;
	plan->source_port = udp->port;
	plan->socket = sockets->udp_raw.fd >= 0 ? &sockets->udp_raw : udp;
}

static void put_in_flight(struct engine *engine, uint32_t index, uint32_t sequence, uint64_t now_ns)
{
	struct flight *flight = &engine->flights[engine->flight_tail++ & engine->flight_mask];

	*flight = (struct flight){.sent_ns = now_ns, .path = index, .sequence = sequence};
}

/* Gathers a probe that takes the whole way. */
void engine_put(struct engine *engine, const struct packet_plan *plan)
{
	struct send_batch *batch = engine->batch;
	const struct path_state *path = &engine->paths[plan->path];
	uint32_t i = make_room(engine, plan);

	engine_build(engine, path, plan, batch->vectors[i].iov_base);
	batch->messages[i].msg_hdr = (struct msghdr){.msg_iov = &batch->vectors[i], .msg_iovlen = 1};
	set_peer(batch, i, path, plan);
	batch->owners[i] = (struct stamp_owner){plan->path, plan->sequence};
}

/* Puts the probe in its place of the record, where its answer is looked for. */
static void expect_answer(struct engine *engine, const struct packet_plan *plan)
{
	struct probe_path *record = &engine->records[plan->path];
	uint32_t place = plan->sequence & (PROBE_RING - 1);

	/* A probe that a whole ring of later ones overtakes is lost, whatever its deadline. */
	if (__atomic_exchange_n(&record->nonce[place], 0, __ATOMIC_ACQ_REL))
		engine->accounts[plan->path].lost++;
	record->sent_ns[place] = 0;
	record->answered_sequence[place] = ~plan->sequence;
	__atomic_store_n(&record->nonce[place], plan->nonce, __ATOMIC_RELEASE);
}

/* Gathers one probe. False when too many are under way: later, please. */
bool engine_send(struct engine *engine, uint32_t index, uint64_t now_ns)
{
	struct path_state *path = &engine->paths[index];
	struct probe_account *account = &engine->accounts[index];
	struct packet_plan plan = {.path = index};

	if (engine->flight_tail - engine->flight_hard > engine->flight_mask)
		return false;
	choose(engine, path, &plan);
	if (!plan.socket)
		return true;
	plan.sequence = ++path->sequence;
	plan.nonce = engine_nonce(engine, index, plan.sequence, path->address);
	plan.by_thread = engine->sockets[path->origin][path->family == 4 ? 0 : 1].mode != MODE_BPF;
	plan.with_udp_header = plan.socket->kind == SOCKET_UDP_RAW;
	plan.length = path->packet_bytes - (path->family == 4 ? 20u : 40u) -
		      (path->responder == RESPONDER_ECHO && !plan.with_udp_header ? 8u : 0u);
	expect_answer(engine, &plan);
	if (engine_takes_short_cut(engine, index, now_ns))
		engine_put_device(engine, &plan);
	else
		engine_put(engine, &plan);
	account->sent++;
	account->sent_last_ns = now_ns;
	put_in_flight(engine, index, plan.sequence, now_ns);
	return true;
}
