// SPDX-License-Identifier: Apache-2.0
/* The thread's life, and what passes between it and JavaScript's. */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define QUIET_NS (80 * NS_PER_MS)

static int make_flights(struct engine *engine)
{
	uint64_t wanted = (uint64_t)engine->options[OPTION_PACKETS_PER_SECOND] *
			  (engine->timeout_ns + 2 * engine->turn_ns) / NS_PER_SECOND;
	uint64_t count = 1024;

	while (count < wanted)
		count *= 2;
	engine->flights = calloc(count, sizeof(*engine->flights));
	engine->flight_mask = count - 1;
	return engine->flights ? 0 : -ENOMEM;
}

/* Takes memory and descriptors; sockets follow, then the start. Ends with engine_destroy in any case. */
int engine_create(struct engine *engine, const int32_t options[OPTION_COUNT],
		  const uint8_t key[PROBE_KEY_BYTES])
{
	uint64_t width_ns;
	int result;

	memset(engine, 0, sizeof(*engine));
	memcpy(engine->options, options, sizeof(engine->options));
	memcpy(engine->key, key, PROBE_KEY_BYTES);
	engine->timeout_ns = (uint64_t)options[OPTION_TIMEOUT_MS] * NS_PER_MS;
	engine->turn_ns = (uint64_t)options[OPTION_TURN_MS] * NS_PER_MS;
	engine->quiet_ns =
		engine->turn_ns < QUIET_NS ? QUIET_NS / engine->turn_ns * engine->turn_ns : engine->turn_ns;
	engine->soft_ns = (uint64_t)options[OPTION_SOFT_TIMEOUT_MS] * NS_PER_MS;
	engine->paths_max = (uint32_t)options[OPTION_PATHS_MAX];
	engine->clock_offset_ns = probe_clock_offset_ns(&width_ns);
	engine->clock_checked_ns = probe_now_ns();
	pthread_mutex_init(&engine->mutex, NULL);
	for (uint32_t i = 0; i < ENGINE_ORIGINS_MAX; i++) {
		for (int family = 0; family < 2; family++) {
			struct engine_sockets *sockets = &engine->sockets[i][family];

			sockets->error = -ENOTCONN;
			sockets->icmp.fd = sockets->udp_raw.fd = -1;
			sockets->device = sockets->changed.fd = -1;
			for (int flow = 0; flow < ENGINE_FLOWS_MAX; flow++)
				sockets->udp[flow].fd = -1;
		}
	}
	engine->epoll = epoll_create1(EPOLL_CLOEXEC);
	engine->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (engine->epoll < 0 || engine->wake < 0)
		return -errno;
	engine->events = calloc(ENGINE_EVENTS_MAX, sizeof(*engine->events));
	result = engine->events ? engine_record_init(engine) : -ENOMEM;
	if (result == 0)
		result = make_flights(engine);
	if (result == 0)
		result = engine_pace_init(engine);
	if (result == 0)
		result = engine_send_init(engine);
	if (result == 0)
		result = engine_device_init(engine);
	return result == 0 ? engine_receive_init(engine) : result;
}

static void take_commands(struct engine *engine, uint64_t now_ns)
{
	struct engine_command *commands;
	uint32_t count;

	pthread_mutex_lock(&engine->mutex);
	commands = engine->commands;
	count = engine->command_count;
	engine->commands = NULL;
	engine->command_count = engine->command_capacity = 0;
	pthread_mutex_unlock(&engine->mutex);
	for (uint32_t i = 0; i < count; i++)
		engine_apply(engine, &commands[i], now_ns);
	free(commands);
}

static void sleep_until(struct engine *engine, uint64_t next_ns)
{
	struct pollfd wake = {.fd = engine->wake, .events = POLLIN};
	uint64_t now_ns = probe_now_ns();
	uint64_t wait_ns = next_ns > now_ns ? next_ns - now_ns : 0;
	struct timespec timeout = {.tv_sec = (time_t)(wait_ns / NS_PER_SECOND),
				   .tv_nsec = (long)(wait_ns % NS_PER_SECOND)};
	uint64_t count;

	ppoll(&wake, 1, next_ns == UINT64_MAX ? NULL : &timeout, NULL);
	if (wake.revents & POLLIN && read(engine->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		engine_count(engine, SELF_EVENTS_LOST, 1);
}

static void note_self(struct engine *engine, uint64_t planned_ns, uint64_t now_ns)
{
	uint64_t lag_ns = planned_ns != UINT64_MAX && now_ns > planned_ns ? now_ns - planned_ns : 0;

	engine_count(engine, SELF_TURNS, 1);
	if (lag_ns > atomic_load_explicit(&engine->self[SELF_LAG_MAX_NS], memory_order_relaxed))
		atomic_store_explicit(&engine->self[SELF_LAG_MAX_NS], lag_ns, memory_order_relaxed);
}

/* On JavaScript's thread: CPU that the prober's has used, to now. */
void engine_note_cpu(struct engine *engine)
{
	struct timespec used;
	clockid_t clock;

	if (!engine->started || pthread_getcpuclockid(engine->thread, &clock) ||
	    clock_gettime(clock, &used) < 0)
		return;
	atomic_store(&engine->self[SELF_CPU_NS],
		     (uint64_t)used.tv_sec * NS_PER_SECOND + (uint64_t)used.tv_nsec);
}

/*
 * The next whole turn from a time on: what comes due within one is served together. A wake-up costs as much
 * as a score of probes, so that turns are longer while all goes well.
 */
static uint64_t round_up(const struct engine *engine, uint64_t ns)
{
	uint64_t turn_ns = engine->pending_count || engine->slow_count || engine->fast ? engine->turn_ns
										       : engine->quiet_ns;

	return ns == UINT64_MAX ? ns : (ns + turn_ns - 1) / turn_ns * turn_ns;
}

static void *run(void *argument)
{
	struct engine *engine = argument;
	uint64_t planned_ns = UINT64_MAX;

	prctl(PR_SET_NAME, "ciliate-prober");
	while (!atomic_load(&engine->ending)) {
		uint64_t now_ns = probe_now_ns();

		note_self(engine, planned_ns, now_ns);
		take_commands(engine, now_ns);
		engine_drain(engine);
		engine_check_deadlines(engine, probe_now_ns());
		engine_serve(engine, probe_now_ns());
		planned_ns = engine_next_ns(engine, probe_now_ns());
		/* Wake-ups cost: only what may soon be declared silent is kept to the ms. */
		if (!engine->burst_count && !engine->suspects)
			planned_ns = round_up(engine, planned_ns);
		sleep_until(engine, planned_ns);
	}
	return NULL;
}

int engine_start(struct engine *engine)
{
	int error = pthread_create(&engine->thread, NULL, run, engine);

	engine->started = error == 0;
	return -error;
}

/* Returns when the thread has ended. May be called twice. */
void engine_stop(struct engine *engine)
{
	uint64_t one = 1;

	if (!engine->started)
		return;
	atomic_store(&engine->ending, true);
	if (write(engine->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return;
	engine_note_cpu(engine);
	pthread_join(engine->thread, NULL);
	engine->started = false;
	engine_close_sockets(engine);
}

/* Frees all; the records' memory too: no view of it may be used any more. */
void engine_destroy(struct engine *engine)
{
	engine_stop(engine);
	engine_close_sockets(engine);
	engine_pace_free(engine);
	engine_send_free(engine);
	engine_device_free(engine);
	engine_receive_free(engine);
	free(engine->flights);
	free(engine->slow);
	free(engine->events);
	free(engine->commands);
	engine_record_free(engine);
	if (engine->epoll >= 0)
		close(engine->epoll);
	if (engine->wake >= 0)
		close(engine->wake);
	pthread_mutex_destroy(&engine->mutex);
	engine->epoll = engine->wake = -1;
}

int engine_command(struct engine *engine, const struct engine_command *commands, uint32_t count)
{
	uint64_t one = 1;
	int result = 0;

	pthread_mutex_lock(&engine->mutex);
	if (engine->command_count + count > engine->command_capacity) {
		uint32_t capacity = (engine->command_count + count) * 2;
		struct engine_command *grown = realloc(engine->commands, capacity * sizeof(*grown));

		if (grown) {
			engine->commands = grown;
			engine->command_capacity = capacity;
		} else {
			result = -ENOMEM;
		}
	}
	if (result == 0 && count) {
		memcpy(engine->commands + engine->command_count, commands, count * sizeof(*commands));
		engine->command_count += count;
	}
	pthread_mutex_unlock(&engine->mutex);
	if (write(engine->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	return result;
}

/* On the thread. When there is no more room the event is lost, and counted. */
void engine_event(struct engine *engine, const struct engine_event *event)
{
	bool first = false, lost = false;

	pthread_mutex_lock(&engine->mutex);
	if (engine->event_count < ENGINE_EVENTS_MAX) {
		engine->events[engine->event_count++] = *event;
		first = engine->event_count == 1;
	} else {
		lost = true;
	}
	pthread_mutex_unlock(&engine->mutex);
	if (lost)
		engine_count(engine, SELF_EVENTS_LOST, 1);
	if (first && engine->notify)
		engine->notify(engine->notify_data);
}

/* On JavaScript's thread. Returns how many were taken, oldest first. */
uint32_t engine_take_events(struct engine *engine, struct engine_event *events, uint32_t capacity)
{
	uint32_t count;

	pthread_mutex_lock(&engine->mutex);
	count = engine->event_count < capacity ? engine->event_count : capacity;
	memcpy(events, engine->events, count * sizeof(*events));
	memmove(engine->events, engine->events + count, (engine->event_count - count) * sizeof(*events));
	engine->event_count -= count;
	pthread_mutex_unlock(&engine->mutex);
	return count;
}
