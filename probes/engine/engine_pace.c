// SPDX-License-Identifier: Apache-2.0
/*
 * When a path's next probe is due. A wheel of turns: a path lies in the slot of the turn in which it is due,
 * and carries how many rounds of the wheel pass before. What is due beyond the budget, in packets a second or
 * in CPU, waits in order.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURNS_OF_CREDIT 4.0		 /* budget that a quiet time may leave over */
#define CPU_CREDIT_NS	(50 * NS_PER_MS) /* likewise: what is earned in so long */

int engine_pace_init(struct engine *engine)
{
	uint32_t count = engine->paths_max;

	engine->paths = calloc(count, sizeof(*engine->paths));
	engine->pending = calloc(count, sizeof(*engine->pending));
	engine->bursts = calloc(count, sizeof(*engine->bursts));
	if (!engine->paths || !engine->pending || !engine->bursts)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		engine->paths[i].next = engine->paths[i].slot = NONE;
		engine->paths[i].sequence = (uint32_t)engine->options[OPTION_FIRST_SEQUENCE] - 1;
	}
	for (uint32_t i = 0; i < WHEEL_SLOTS; i++)
		engine->wheel[i] = NONE;
	engine->tokens_ns = probe_now_ns();
	engine->wheel_turn = engine->tokens_ns / engine->turn_ns;
	return 0;
}

void engine_pace_free(struct engine *engine)
{
	free(engine->paths);
	free(engine->pending);
	free(engine->bursts);
	engine->paths = NULL;
	engine->pending = engine->bursts = NULL;
}

static void take_off(struct engine *engine, uint32_t index)
{
	struct path_state *path = &engine->paths[index];
	uint32_t *link;

	if (path->slot == NONE)
		return;
	for (link = &engine->wheel[path->slot]; *link != NONE; link = &engine->paths[*link].next) {
		if (*link != index)
			continue;
		*link = path->next;
		break;
	}
	path->next = path->slot = NONE;
	engine->wheel_count--;
}

static void put_on(struct engine *engine, uint32_t index)
{
	struct path_state *path = &engine->paths[index];
	uint64_t turn = path->due_ns / engine->turn_ns;

	take_off(engine, index);
	if (turn <= engine->wheel_turn)
		turn = engine->wheel_turn + 1;
	path->slot = (uint32_t)(turn % WHEEL_SLOTS);
	path->turns = (uint32_t)((turn - engine->wheel_turn - 1) / WHEEL_SLOTS);
	path->next = engine->wheel[path->slot];
	engine->wheel[path->slot] = index;
	engine->wheel_count++;
}

static void set_period(struct engine *engine, struct path_state *path, uint64_t period_ns)
{
	engine->fast -= path->period_ns && path->period_ns < engine->quiet_ns;
	path->period_ns = period_ns;
	engine->fast += period_ns && period_ns < engine->quiet_ns;
}

static void open_path(struct engine *engine, const struct engine_command *command, uint64_t now_ns)
{
	uint32_t index = command->path;
	struct path_state *path = &engine->paths[index];
	struct probe_path *record = &engine->records[index];
	uint32_t least = engine_packet_least((int)command->family);
	struct path_state fresh = {
		.active = true,
		.pending = path->pending,
		.bursting = path->bursting,
		.responder = (uint8_t)command->responder,
		.origin = (uint8_t)command->origin,
		.family = (uint8_t)command->family,
		.rotate = (uint8_t)command->rotate,
		.phase = PHASE_NEW,
		.packet_bytes = (uint16_t)(command->packet_bytes > least ? command->packet_bytes : least),
		.flow = (uint16_t)index,
		.generation = command->generation,
		.sequence = path->sequence,
		.next = path->next,
		.slot = path->slot,
		.due_ns = now_ns + (uint64_t)command->phase_us * 1000,
	};

	memcpy(fresh.address, command->address, sizeof(fresh.address));
	set_period(engine, path, 0);
	*path = fresh;
	set_period(engine, path, (uint64_t)command->period_us * 1000);
	memset(record, 0, sizeof(*record));
	memcpy(record->address, command->address, sizeof(record->address));
	record->timeout_us = (uint32_t)(engine->timeout_ns / 1000);
	record->sequence_last = path->sequence;
	__atomic_store_n(&record->family, command->family, __ATOMIC_RELEASE);
	engine->accounts[index] = (struct probe_account){.generation = command->generation};
	if (path->period_ns)
		put_on(engine, index);
	else
		take_off(engine, index);
}

static void close_path(struct engine *engine, uint32_t index)
{
	struct path_state *path = &engine->paths[index];

	take_off(engine, index);
	set_period(engine, path, 0);
	path->burst_left = 0;
	engine_set_phase(engine, index, PHASE_NEW);
	path->active = false;
	__atomic_store_n(&engine->records[index].family, 0, __ATOMIC_RELEASE);
	memset(engine->records[index].nonce, 0, sizeof(engine->records[index].nonce));
}

static void pace_path(struct engine *engine, const struct engine_command *command, uint64_t now_ns)
{
	struct path_state *path = &engine->paths[command->path];
	uint64_t last_ns = engine->accounts[command->path].sent_last_ns;

	set_period(engine, path, (uint64_t)command->period_us * 1000);
	if (!path->period_ns) {
		take_off(engine, command->path);
		return;
	}
	path->due_ns = last_ns ? last_ns + path->period_ns : now_ns;
	put_on(engine, command->path);
}

void engine_apply(struct engine *engine, const struct engine_command *command, uint64_t now_ns)
{
	struct path_state *path;

	if (command->path >= engine->paths_max)
		return;
	path = &engine->paths[command->path];
	if (command->kind == COMMAND_OPEN) {
		open_path(engine, command, now_ns);
		return;
	}
	if (!path->active)
		return;
	if (command->kind == COMMAND_CLOSE)
		close_path(engine, command->path);
	else if (command->kind == COMMAND_PACE)
		pace_path(engine, command, now_ns);
	else if (command->kind == COMMAND_BURST)
		engine_begin_burst(engine, command->path, command->count, command->spacing_us, now_ns);
}

static void wait_for_budget(struct engine *engine, uint32_t index)
{
	struct path_state *path = &engine->paths[index];

	/* One that waits already has missed a probe: it is not owed two. */
	if (path->pending)
		return;
	path->pending = true;
	engine->pending[(engine->pending_head + engine->pending_count++) % engine->paths_max] = index;
}

static void earn(struct engine *engine, uint64_t now_ns)
{
	double rate = engine->options[OPTION_PACKETS_PER_SECOND];
	double most = rate * (double)engine->turn_ns / NS_PER_SECOND * TURNS_OF_CREDIT;

	engine->tokens += rate * (double)(now_ns - engine->tokens_ns) / NS_PER_SECOND;
	engine->tokens_ns = now_ns;
	if (most < 1)
		most = 1;
	if (engine->tokens > most)
		engine->tokens = most;
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_PER_SECOND + (uint64_t)used.tv_nsec;
}

/*
 * Whether the thread may use more CPU: its share of the time that has passed, less what it has used, for
 * whatever. Reading answers is never put off, so that what it takes is paid for by sending less.
 */
static bool may_use_cpu(struct engine *engine)
{
	double share = engine->options[OPTION_CPU_PERCENT] / 100.0;
	uint64_t now_ns, cpu_ns;

	if (share >= 1)
		return true;
	now_ns = probe_now_ns();
	cpu_ns = thread_cpu_ns();
	if (engine->cpu_at_ns)
		engine->cpu_left_ns +=
			share * (double)(now_ns - engine->cpu_at_ns) - (double)(cpu_ns - engine->cpu_ns);
	engine->cpu_at_ns = now_ns;
	engine->cpu_ns = cpu_ns;
	if (engine->cpu_left_ns > share * CPU_CREDIT_NS)
		engine->cpu_left_ns = share * CPU_CREDIT_NS;
	return engine->cpu_left_ns >= 0;
}

static void serve_slot(struct engine *engine, uint32_t slot, uint64_t now_ns)
{
	uint32_t index = engine->wheel[slot];

	engine->wheel[slot] = NONE;
	while (index != NONE) {
		struct path_state *path = &engine->paths[index];
		uint32_t next = path->next;

		if (path->turns) {
			path->turns--;
			path->next = engine->wheel[slot];
			engine->wheel[slot] = index;
		} else {
			path->next = path->slot = NONE;
			engine->wheel_count--;
			wait_for_budget(engine, index);
			/* Without drift; after a long sleep what was missed is not made up for. */
			path->due_ns += path->period_ns;
			if (path->due_ns + path->period_ns < now_ns)
				path->due_ns = now_ns + path->period_ns;
			put_on(engine, index);
		}
		index = next;
	}
}

static void serve_bursts(struct engine *engine, uint64_t now_ns)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < engine->burst_count; i++) {
		uint32_t index = engine->bursts[i];
		struct path_state *path = &engine->paths[index];

		if (path->burst_left && path->burst_next_ns <= now_ns) {
			wait_for_budget(engine, index);
			path->burst_left--;
			path->burst_next_ns += (uint64_t)path->burst_spacing_us * 1000;
		}
		path->bursting = path->burst_left > 0;
		if (path->bursting)
			engine->bursts[kept++] = index;
	}
	engine->burst_count = kept;
}

static void send_pending(struct engine *engine, uint64_t now_ns)
{
	uint32_t since_drain = 0;
	bool may_send = may_use_cpu(engine);

	while (may_send && engine->pending_count && engine->tokens >= 1) {
		uint32_t index = engine->pending[engine->pending_head];
		struct path_state *path = &engine->paths[index];

		if (path->active && !engine_send(engine, index, now_ns))
			break;
		path->pending = false;
		engine->pending_head = (engine->pending_head + 1) % engine->paths_max;
		engine->pending_count--;
		engine->tokens -= path->active ? 1 : 0;
		if (++since_drain % ENGINE_BATCH == 0)
			may_send = may_use_cpu(engine);
		/* Answers come while we send: none may find the buffer full. */
		if (since_drain == 8 * ENGINE_BATCH) {
			engine_flush(engine);
			engine_drain(engine);
			since_drain = 0;
			now_ns = probe_now_ns();
		}
	}
	engine_flush(engine);
	engine_count(engine, SELF_DEFERRED, engine->pending_count);
}

/* Sends all that is due. */
void engine_serve(struct engine *engine, uint64_t now_ns)
{
	uint64_t turn = now_ns / engine->turn_ns;
	uint64_t behind = turn - engine->wheel_turn;

	earn(engine, now_ns);
	serve_bursts(engine, now_ns);
	/* After a long sleep each slot is looked at once. */
	if (behind > WHEEL_SLOTS)
		engine->wheel_turn = turn - WHEEL_SLOTS;
	while (engine->wheel_turn < turn) {
		engine->wheel_turn++;
		serve_slot(engine, (uint32_t)(engine->wheel_turn % WHEEL_SLOTS), now_ns);
	}
	send_pending(engine, now_ns);
}

/* The first turn whose slot holds a path, within one round of the wheel. */
static uint64_t next_slot_ns(const struct engine *engine)
{
	for (uint64_t i = 1; engine->wheel_count && i <= WHEEL_SLOTS; i++) {
		if (engine->wheel[(engine->wheel_turn + i) % WHEEL_SLOTS] != NONE)
			return (engine->wheel_turn + i) * engine->turn_ns;
	}
	return UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The turn up to which there is nothing to do; UINT64_MAX: until a command comes. */
uint64_t engine_next_ns(const struct engine *engine, uint64_t now_ns)
{
	uint64_t next_ns = next_slot_ns(engine);

	if (engine->pending_count || engine->slow_count)
		next_ns = earlier(next_ns, now_ns + engine->turn_ns);
	if (engine->flight_soft < engine->flight_tail)
		next_ns =
			earlier(next_ns, engine->flights[engine->flight_soft & engine->flight_mask].sent_ns +
						 engine->soft_ns);
	if (engine->flight_hard < engine->flight_tail)
		next_ns =
			earlier(next_ns, engine->flights[engine->flight_hard & engine->flight_mask].sent_ns +
						 engine->timeout_ns);
	for (uint32_t i = 0; i < engine->burst_count; i++)
		next_ns = earlier(next_ns, engine->paths[engine->bursts[i]].burst_next_ns);
	return next_ns;
}
