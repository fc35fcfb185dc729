// SPDX-License-Identifier: Apache-2.0
/* Matching an answer to its probe, by the steps of probe_structs.h. Each probe has one outcome. */
#include "engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)PROBE_BLOCK * sizeof(struct probe_path))

_Static_assert(BLOCK_BYTES % 4096 == 0, "a block of records begins where a page does");

static size_t records_bytes(const struct engine *engine)
{
	return (engine->paths_max + PROBE_BLOCK - 1) / PROBE_BLOCK * BLOCK_BYTES;
}

/* Room for all records: what is not touched takes no memory. */
int engine_record_init(struct engine *engine)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *records = mmap(NULL, records_bytes(engine), PROT_READ | PROT_WRITE, flags, -1, 0);

	if (records == MAP_FAILED)
		return -errno;
	engine->records = records;
	engine->accounts = calloc(engine->paths_max, sizeof(*engine->accounts));
	return engine->accounts ? 0 : -ENOMEM;
}

void engine_record_free(struct engine *engine)
{
	free(engine->accounts);
	if (engine->records)
		munmap(engine->records, records_bytes(engine));
}

/* A mapping that failed may have taken away what was there. */
static int put_back(void *at)
{
	int error = errno, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	(void)mmap(at, BLOCK_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
	return -error;
}

/* On JavaScript's thread: puts the memory of a map in the place of a block of records. None of its paths may
 * have been opened. Where a block is no whole number of pages (64 KiB), there is no place for one.
 */
int engine_share_records(struct engine *engine, uint32_t block, int fd)
{
	void *at = engine->records + (size_t)block * PROBE_BLOCK;

	if (block >= records_bytes(engine) / BLOCK_BYTES)
		return -ERANGE;
	if (BLOCK_BYTES % (size_t)sysconf(_SC_PAGESIZE))
		return -EOPNOTSUPP;
	if (mmap(at, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return put_back(at);
	return 0;
}

static uint32_t place(uint32_t sequence)
{
	return sequence & (PROBE_RING - 1);
}

static uint64_t nonce_of(const struct engine *engine, uint32_t path, uint32_t sequence)
{
	return engine_nonce(engine, path, sequence, engine->records[path].address);
}

/* Takes the probe out of its place. True: nobody else has, and it is the caller's to count. */
bool engine_claim(struct engine *engine, uint32_t path, uint32_t sequence)
{
	uint64_t expected = nonce_of(engine, path, sequence);

	return __atomic_compare_exchange_n(&engine->records[path].nonce[place(sequence)], &expected, 0, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Whether the probe has no outcome yet. */
bool engine_waiting(const struct engine *engine, uint32_t path, uint32_t sequence)
{
	return __atomic_load_n(&engine->records[path].nonce[place(sequence)], __ATOMIC_ACQUIRE) ==
	       nonce_of(engine, path, sequence);
}

void engine_note_departure(struct engine *engine, const struct stamp_owner *owner, uint64_t sent_ns)
{
	/* The place may hold a later probe by now. */
	if (owner->path < engine->paths_max &&
	    engine->paths[owner->path].sequence - owner->sequence < PROBE_RING)
		engine->records[owner->path].sent_ns[place(owner->sequence)] = sent_ns;
}

static void note_round_trip(struct probe_path *record, uint64_t rtt_ns)
{
	record->rtt_sum_ns += rtt_ns;
	record->rtt_last_ns = rtt_ns;
	if (rtt_ns > record->rtt_max_ns)
		record->rtt_max_ns = rtt_ns;
	record->histogram[probe_bucket(rtt_ns)]++;
}

/* What the responder tells of itself is believed as far as it can be true. */
static void note_echo(struct probe_path *record, uint32_t residence_ns, uint64_t rtt_ns)
{
	record->echoed++;
	if (residence_ns <= rtt_ns)
		record->residence_sum_ns += residence_ns;
}

static void note_answer(struct engine *engine, const struct engine_answer *answer,
			const struct probe_cookie *cookie)
{
	uint32_t path = ntohl(cookie->path);
	uint32_t sequence = ntohl(cookie->sequence);
	struct probe_path *record = &engine->records[path];
	uint64_t sent_ns = record->sent_ns[place(sequence)];
	bool timed = sent_ns && answer->received_ns >= sent_ns;

	record->answered_sequence[place(sequence)] = sequence;
	if (timed && answer->received_ns - sent_ns > engine->timeout_ns) {
		record->late++;
		return;
	}
	record->answered++;
	record->answered_last_ns = answer->received_ns ? answer->received_ns : probe_now_ns();
	record->hop_limit_last = answer->hop_limit;
	if (timed)
		note_round_trip(record, answer->received_ns - sent_ns);
	else
		record->unstamped++;
	if (cookie->flags & PROBE_ECHOED)
		note_echo(record, ntohl(cookie->residence_ns), timed ? answer->received_ns - sent_ns : 0);
	if ((int32_t)(sequence - record->sequence_last) < 0)
		record->reordered++;
	else
		record->sequence_last = sequence;
}

/* An answer that no waiting probe is of: after the deadline, or not the first one. */
static void note_stray(struct engine *engine, uint32_t path, uint32_t sequence)
{
	if (engine->records[path].answered_sequence[place(sequence)] == sequence)
		engine->accounts[path].duplicate++;
	else
		engine->accounts[path].late++;
}

void engine_take_answer(struct engine *engine, const struct engine_answer *answer)
{
	struct probe_cookie cookie;
	uint32_t path;

	if (answer->length < sizeof(cookie)) {
		engine_count(engine, SELF_CORRUPT, 1);
		return;
	}
	memcpy(&cookie, answer->cookie, sizeof(cookie));
	path = ntohl(cookie.path);
	if (cookie.magic != htonl(PROBE_MAGIC) || cookie.version != 1 ||
	    ntohl(cookie.prober) != (uint32_t)engine->options[OPTION_PROBER] || path >= engine->paths_max ||
	    !engine->paths[path].active || engine->paths[path].family != answer->family ||
	    memcmp(engine->paths[path].address, answer->address, 16) != 0 ||
	    cookie.nonce != nonce_of(engine, path, ntohl(cookie.sequence))) {
		engine_count(engine, SELF_FOREIGN, 1);
		return;
	}
	if (engine_claim(engine, path, ntohl(cookie.sequence)))
		note_answer(engine, answer, &cookie);
	else
		note_stray(engine, path, ntohl(cookie.sequence));
}

/* At once the first time, then once a second at most while it stays the same. */
static void tell_failure(struct engine *engine, const struct engine_failure *failure, uint64_t now_ns)
{
	struct path_state *path = &engine->paths[failure->path];
	struct engine_event event = {
		.at_ns = now_ns,
		.kind = EVENT_ERROR,
		.path = failure->path,
		.generation = path->generation,
		.error = failure->error,
		.mtu = failure->mtu,
		.offender_family = (uint32_t)failure->offender_family,
	};

	if (path->error_last == failure->error && now_ns - path->error_ns < NS_PER_SECOND)
		return;
	path->error_last = failure->error;
	path->error_ns = now_ns;
	memcpy(event.offender, failure->offender, sizeof(event.offender));
	engine_event(engine, &event);
}

/* The probe was claimed by the caller: it is neither answered nor lost. */
void engine_note_failure(struct engine *engine, const struct engine_failure *failure)
{
	uint64_t now_ns = probe_now_ns();

	engine->accounts[failure->path].failed++;
	tell_failure(engine, failure, now_ns);
	engine_note_missed(engine, failure->path, now_ns);
}
