// SPDX-License-Identifier: Apache-2.0
/*
 * What becomes of probes that are not answered.
 *
 * 1. At the soft deadline of a path (its last round trip fourfold, at least the engine's), a probe that still
 *    waits makes the path suspect, and a burst follows at once. So does an ICMP error, or a refused send.
 * 2. When the burst's last probe has passed its soft deadline too, and nothing was answered, it is silent.
 * 3. Any answer ends both. At the hard deadline a waiting probe is lost,
 * 4. unless our own sockets overflowed while it waited: as many probes as answers were dropped have no
 * outcome, and count as not sent.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>

#define SOFT_FACTOR 4u

void engine_begin_burst(struct engine *engine, uint32_t index, uint32_t count, uint32_t spacing_us,
			uint64_t now_ns)
{
	struct path_state *path = &engine->paths[index];

	path->burst_left = count;
	path->burst_spacing_us = spacing_us;
	path->burst_next_ns = now_ns;
	if (path->bursting || !count)
		return;
	path->bursting = true;
	engine->bursts[engine->burst_count++] = index;
}

void engine_set_phase(struct engine *engine, uint32_t index, enum path_phase phase)
{
	struct path_state *path = &engine->paths[index];

	engine->suspects -= path->phase == PHASE_SUSPECT;
	engine->suspects += phase == PHASE_SUSPECT;
	path->phase = (uint8_t)phase;
}

static void tell(struct engine *engine, uint32_t index, enum engine_event_kind kind, uint64_t now_ns)
{
	struct engine_event event = {
		.at_ns = now_ns,
		.kind = kind,
		.path = index,
		.generation = engine->paths[index].generation,
	};

	engine_event(engine, &event);
}

static void note_answered(struct engine *engine, uint32_t index, uint64_t now_ns)
{
	struct path_state *path = &engine->paths[index];

	engine->accounts[index].lost_in_a_row = 0;
	if (path->phase == PHASE_ANSWERING)
		return;
	engine_set_phase(engine, index, PHASE_ANSWERING);
	tell(engine, index, EVENT_ANSWER, now_ns);
}

/* A probe had no answer in time, or an error instead of one. */
void engine_note_missed(struct engine *engine, uint32_t index, uint64_t now_ns)
{
	struct path_state *path = &engine->paths[index];
	uint32_t burst = (uint32_t)engine->options[OPTION_BURST];
	uint32_t missed = ++engine->accounts[index].lost_in_a_row;

	engine_distrust(engine, index, now_ns);
	if (path->phase == PHASE_ANSWERING || path->phase == PHASE_NEW) {
		engine_set_phase(engine, index, PHASE_SUSPECT);
		tell(engine, index, EVENT_SUSPECT, now_ns);
		/* A longer burst that was asked for does as well; a path without a pace is probed only when
		 * asked. */
		if (path->period_ns && path->burst_left < burst)
			engine_begin_burst(engine, index, burst,
					   (uint32_t)engine->options[OPTION_BURST_SPACING_MS] * 1000, now_ns);
	}
	if (path->phase != PHASE_SILENT && missed > burst) {
		engine_set_phase(engine, index, PHASE_SILENT);
		tell(engine, index, EVENT_SILENT, now_ns);
	}
}

/* By the path's own times, where they are longer than what all have. */
static uint64_t soft_deadline_ns(const struct engine *engine, uint32_t index)
{
	uint64_t own_ns = engine->records[index].rtt_last_ns * SOFT_FACTOR;

	if (own_ns > engine->timeout_ns)
		own_ns = engine->timeout_ns;
	return own_ns > engine->soft_ns ? own_ns : engine->soft_ns;
}

/* True: it has been dealt with. */
static bool check_soft(struct engine *engine, const struct flight *flight, uint64_t now_ns)
{
	if (!engine->paths[flight->path].active)
		return true;
	if (!engine_waiting(engine, flight->path, flight->sequence)) {
		uint32_t place = flight->sequence & (PROBE_RING - 1);

		if (engine->records[flight->path].answered_sequence[place] == flight->sequence)
			note_answered(engine, flight->path, now_ns);
		return true;
	}
	if (now_ns - flight->sent_ns < soft_deadline_ns(engine, flight->path))
		return false;
	engine_note_missed(engine, flight->path, now_ns);
	return true;
}

static bool keep_slow(struct engine *engine, const struct flight *flight)
{
	if (engine->slow_count == engine->slow_capacity) {
		uint32_t capacity = engine->slow_capacity ? engine->slow_capacity * 2 : 256;
		struct flight *grown = realloc(engine->slow, capacity * sizeof(*grown));

		if (!grown)
			return false;
		engine->slow = grown;
		engine->slow_capacity = capacity;
	}
	engine->slow[engine->slow_count++] = *flight;
	return true;
}

static void check_slow(struct engine *engine, uint64_t now_ns)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < engine->slow_count; i++) {
		if (!check_soft(engine, &engine->slow[i], now_ns))
			engine->slow[kept++] = engine->slow[i];
	}
	engine->slow_count = kept;
}

static struct own_drops *dropped_of(struct engine *engine, int family, enum engine_responder responder)
{
	return &engine->dropped[family == 4 ? 0 : 1][responder];
}

/* The socket had no room for some of what came since it was last drained. */
void engine_note_drops(struct engine *engine, const struct engine_socket *sock, uint32_t drops)
{
	struct own_drops *dropped =
		dropped_of(engine, sock->family, sock->kind == SOCKET_ICMP ? RESPONDER_ICMP : RESPONDER_ECHO);

	engine_count(engine, SELF_OWN_DROPS, drops);
	if (dropped->to_ns + engine->timeout_ns < engine->drained_ns)
		*dropped = (struct own_drops){.from_ns = engine->drained_ns};
	dropped->to_ns = probe_now_ns();
	dropped->left += drops;
}

/* A probe that the caller has claimed was not answered. */
void engine_note_lost(struct engine *engine, uint32_t index, uint64_t sent_ns)
{
	const struct path_state *path = &engine->paths[index];
	struct own_drops *dropped = dropped_of(engine, path->family, path->responder);

	if (dropped->left && sent_ns <= dropped->to_ns && sent_ns + engine->timeout_ns >= dropped->from_ns) {
		dropped->left--;
		engine->accounts[index].sent--;
	} else {
		engine->accounts[index].lost++;
	}
}

void engine_check_deadlines(struct engine *engine, uint64_t now_ns)
{
	check_slow(engine, now_ns);
	for (; engine->flight_soft < engine->flight_tail; engine->flight_soft++) {
		struct flight *flight = &engine->flights[engine->flight_soft & engine->flight_mask];

		if (now_ns - flight->sent_ns < engine->soft_ns)
			break;
		/* Without memory for it, the common deadline is its own. */
		if (!check_soft(engine, flight, now_ns) && !keep_slow(engine, flight))
			engine_note_missed(engine, flight->path, now_ns);
	}
	for (; engine->flight_hard < engine->flight_soft; engine->flight_hard++) {
		struct flight *flight = &engine->flights[engine->flight_hard & engine->flight_mask];

		if (now_ns - flight->sent_ns < engine->timeout_ns)
			break;
		if (engine->paths[flight->path].active &&
		    engine_claim(engine, flight->path, flight->sequence))
			engine_note_lost(engine, flight->path, flight->sent_ns);
	}
}
