// SPDX-License-Identifier: Apache-2.0
/*
 * A ring buffer on the event loop.
 *
 * Life: open -> (closing) -> closed. While open, the reader holds a reference on its own JavaScript value, so
 * that it is never collected while it polls. close() stops polling and unmaps at once; the uv handle ends in
 * a later turn of the loop and only then is the reference dropped, after which the finalizer frees the
 * memory. At the environment's exit an asynchronous hook does the same and keeps the loop turning until uv is
 * done.
 *
 * Everything runs on the environment's thread. The records of a wake-up are copied into one slab and handed
 * over in one call: (slab, lengths as u32 of the machine's order, lost). A wake-up takes at most SLAB_LIMIT
 * bytes, so that a full ring holds the loop up for a millisecond or two at a time; the descriptor is
 * level-triggered, so the rest comes in the next turn. Records that there is no memory for are given up and
 * counted in `lost`; those of the round that there was memory for still arrive.
 *
 * After a wake-up that read all there was nobody polls for PAUSE_MS: records that come one by one, thousands
 * a second, cost a wake-up each otherwise, and whoever writes them an interrupt to make it; the kernel makes
 * none while there is something unread.
 */
#include "addon.h"

#include <fcntl.h>
#include <uv.h>

#define SLAB_LIMIT (32u << 10)
#define PAUSE_MS   5

struct reader {
	napi_env env;
	uv_poll_t poll;
	uv_timer_t pause;
	/* Handles of uv that have not ended. */
	int handles;
	struct ring_buffer *ring;
	int map_fd;
	napi_ref self, callback;
	napi_async_context async;
	napi_async_cleanup_hook_handle hook;
	/* `closing` from begin_close to on_closed; a value collected meanwhile leaves the memory to
	 * on_closed. */
	bool polling, closing, orphan;
	/* The wake-up being read. */
	char *slab;
	size_t slab_bytes, slab_room;
	uint32_t *lengths;
	size_t count, room;
	/* Of the wake-up being read, the lost ones too. */
	size_t round_bytes;
	/* Records given up since the callback was last told. */
	uint32_t lost;
};

static const napi_type_tag reader_tag = {0x6369696c62706603, 0x72696e6762756672};

static bool reserve(struct reader *reader, size_t bytes)
{
	if (reader->slab_bytes + bytes > reader->slab_room) {
		size_t room = (reader->slab_bytes + bytes) * 2 + 4096;
		char *slab = realloc(reader->slab, room);

		if (!slab)
			return false;
		reader->slab = slab;
		reader->slab_room = room;
	}
	if (reader->count == reader->room) {
		size_t room = reader->room * 2 + 64;
		uint32_t *lengths = realloc(reader->lengths, room * sizeof(*lengths));

		if (!lengths)
			return false;
		reader->lengths = lengths;
		reader->room = room;
	}
	return true;
}

/* libbpf gives the record up whatever this returns; a negative value only ends the round. */
static int on_record(void *data, void *record, size_t bytes)
{
	struct reader *reader = data;

	if (reserve(reader, bytes)) {
		memcpy(reader->slab + reader->slab_bytes, record, bytes);
		reader->slab_bytes += bytes;
		reader->lengths[reader->count++] = bytes;
	} else {
		reader->lost++;
	}
	reader->round_bytes += bytes;
	return reader->round_bytes >= SLAB_LIMIT ? -ECANCELED : 0;
}

static napi_status call_back(struct reader *reader)
{
	napi_env env = reader->env;
	napi_value receiver, callback, args[3];
	napi_status status;
	uint32_t lost = reader->lost;

	/* The callback may read the next round before it returns. */
	reader->lost = 0;

	status = napi_create_buffer_copy(env, reader->slab_bytes, reader->slab, NULL, &args[0]);
	if (status == napi_ok)
		status = napi_create_buffer_copy(env, reader->count * sizeof(uint32_t), reader->lengths, NULL,
						 &args[1]);
	if (status == napi_ok)
		status = napi_create_uint32(env, lost, &args[2]);
	if (status == napi_ok)
		status = napi_get_reference_value(env, reader->callback, &callback);
	if (status == napi_ok)
		status = napi_get_global(env, &receiver);
	if (status == napi_ok)
		status = napi_make_callback(env, reader->async, receiver, callback, 3, args, NULL);
	return status;
}

/* Hands the round over. An exception of the callback, or a round that cannot be handed over, is an uncaught
 * one. */
static void deliver(struct reader *reader)
{
	napi_env env = reader->env;
	napi_value error;

	if (call_back(reader) == napi_ok)
		return;
	throw_last(env);
	if (napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
}

/* Reads one round. Returns the number of records, or -errno. */
static int read_round(struct reader *reader)
{
	napi_handle_scope scope;
	int err, count;

	reader->slab_bytes = 0;
	reader->round_bytes = 0;
	reader->count = 0;
	err = ring_buffer__consume(reader->ring);
	count = reader->count;
	if (count > 0 || reader->lost > 0) {
		if (napi_open_handle_scope(reader->env, &scope) != napi_ok) {
			reader->lost += count;
			return -ENOMEM;
		}
		deliver(reader);
		napi_close_handle_scope(reader->env, scope);
	}
	return err < 0 && err != -ECANCELED ? err : count;
}

/* An uncaught exception: who listens would wait for events for ever. */
static void report(struct reader *reader, int err)
{
	napi_env env = reader->env;
	napi_handle_scope scope;
	napi_value error;

	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	if (napi_throw_error(env, "BPF_RING", strerror(-err)) == napi_ok &&
	    napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
	napi_close_handle_scope(env, scope);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *pause)
{
	struct reader *reader = pause->data;
	int err;

	if (!reader->polling)
		return;
	err = uv_poll_start(&reader->poll, UV_READABLE, on_readable);
	if (err)
		report(reader, err);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct reader *reader = poll->data;

	if (!reader->polling)
		return;
	if (status == 0)
		status = read_round(reader);
	if (status < 0)
		report(reader, status);
	/* The callback may have closed it. */
	if (reader->polling && reader->round_bytes < SLAB_LIMIT) {
		uv_poll_stop(&reader->poll);
		uv_timer_start(&reader->pause, on_pause_over, PAUSE_MS, 0);
	}
}

static void free_reader(struct reader *reader)
{
	free(reader->slab);
	free(reader->lengths);
	free(reader);
}

static void finalize_reader(napi_env env, void *data, void *hint)
{
	struct reader *reader = data;

	if (reader->closing)
		reader->orphan = true;
	else
		free_reader(reader);
}

static void on_closed(uv_handle_t *handle)
{
	struct reader *reader = handle->data;
	napi_async_cleanup_hook_handle hook = reader->hook;
	napi_handle_scope scope;

	if (--reader->handles > 0)
		return;
	ring_buffer__free(reader->ring);
	close(reader->map_fd);
	if (napi_open_handle_scope(reader->env, &scope) == napi_ok) {
		napi_async_destroy(reader->env, reader->async);
		napi_delete_reference(reader->env, reader->callback);
		napi_delete_reference(reader->env, reader->self);
		napi_close_handle_scope(reader->env, scope);
	}
	reader->closing = false;
	if (reader->orphan)
		free_reader(reader);
	if (hook)
		napi_remove_async_cleanup_hook(hook);
}

/* Stops polling now; on_closed releases the rest. */
static void begin_close(struct reader *reader)
{
	if (!reader->polling)
		return;
	reader->polling = false;
	reader->closing = true;
	uv_poll_stop(&reader->poll);
	uv_close((uv_handle_t *)&reader->poll, on_closed);
	uv_close((uv_handle_t *)&reader->pause, on_closed);
}

static void on_exit_hook(napi_async_cleanup_hook_handle hook, void *data)
{
	begin_close(data);
}

static int start(struct reader *reader, int map_fd)
{
	uv_loop_t *loop;
	int err;

	reader->map_fd = fcntl(map_fd, F_DUPFD_CLOEXEC, 3);
	if (reader->map_fd < 0)
		return -errno;
	log_clear();
	reader->ring = ring_buffer__new(reader->map_fd, on_record, reader, NULL);
	if (!reader->ring) {
		err = -errno;
		close(reader->map_fd);
		return err;
	}
	err = napi_get_uv_event_loop(reader->env, &loop) == napi_ok ? 0 : -EINVAL;
	if (!err)
		err = uv_poll_init(loop, &reader->poll, ring_buffer__epoll_fd(reader->ring));
	/* Never fails, and needs no end before its first start. */
	if (!err)
		err = uv_timer_init(loop, &reader->pause);
	if (err) {
		ring_buffer__free(reader->ring);
		close(reader->map_fd);
		return err;
	}
	reader->poll.data = reader;
	reader->pause.data = reader;
	reader->handles = 2;
	reader->polling = true;
	return uv_poll_start(&reader->poll, UV_READABLE, on_readable);
}

static bool hold(struct reader *reader, napi_value self, napi_value callback)
{
	napi_env env = reader->env;
	napi_value name;

	return napi_create_string_utf8(env, "ciliate:ringbuf", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	       napi_async_init(env, NULL, name, &reader->async) == napi_ok &&
	       napi_create_reference(env, callback, 1, &reader->callback) == napi_ok &&
	       napi_create_reference(env, self, 1, &reader->self) == napi_ok &&
	       napi_add_async_cleanup_hook(env, on_exit_hook, reader, &reader->hook) == napi_ok;
}

/* ringOpen(map, callback(slab, lengths, lost)): handle | -errno */
static napi_value ring_open(napi_env env, napi_callback_info info)
{
	struct reader *reader;
	struct fd_handle *map;
	napi_value argv[MAX_ARGS], self;
	napi_valuetype type;
	int err;

	if (!get_args(env, info, 2, argv) || !get_fd_handle(env, argv[0], &map))
		return NULL;
	if (napi_typeof(env, argv[1], &type) != napi_ok || type != napi_function) {
		throw_type(env, "expected a function");
		return NULL;
	}
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return make_i64(env, -ENOMEM);
	reader->env = env;
	self = make_tagged(env, reader, &reader_tag, finalize_reader);
	if (!self)
		return NULL;
	err = start(reader, map->fd);
	if (!err && !hold(reader, self, argv[1]))
		err = -ENOMEM;
	if (err) {
		begin_close(reader);
		return make_i64(env, err);
	}
	return self;
}

/* ringConsume(ring): records that were ready | -errno; delivers like wake-ups, as many as it takes */
static napi_value ring_consume(napi_env env, napi_callback_info info)
{
	struct reader *reader;
	napi_value argv[MAX_ARGS];
	int64_t sum = 0;
	int count;

	if (!get_args(env, info, 1, argv) || !get_tagged(env, argv[0], &reader_tag, (void **)&reader))
		return NULL;
	if (!reader->polling) {
		napi_throw_error(env, "BPF_CLOSED", "the ring buffer is closed");
		return NULL;
	}
	do {
		count = read_round(reader);
		sum += count;
	} while (count >= 0 && reader->polling && reader->round_bytes >= SLAB_LIMIT);
	return make_i64(env, count < 0 ? count : sum);
}

/* ringClose(ring): void */
static napi_value ring_close(napi_env env, napi_callback_info info)
{
	struct reader *reader;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, info, 1, argv) || !get_tagged(env, argv[0], &reader_tag, (void **)&reader))
		return NULL;
	begin_close(reader);
	return make_undefined(env);
}

const struct method ringbuf_methods[] = {
	{"ringOpen", ring_open}, {"ringConsume", ring_consume}, {"ringClose", ring_close}, {}};
