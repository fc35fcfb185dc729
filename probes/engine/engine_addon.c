// SPDX-License-Identifier: Apache-2.0
/*
 * Node-API surface of the probe engine: integers and buffers in, a count or a negative errno out. Options,
 * defaults and names live in the TypeScript facade, the only importer.
 *
 * Threads: all functions here run on JavaScript's thread; the prober's own thread calls only uv_async_send.
 * Ownership: the engine belongs to the external handle. stop() ends the thread and closes the sockets; the
 * memory of records lives until the handle and every array buffer over it have been collected.
 */
#include "../../src/base/native/addon.h"
#include "engine.h"
#include "route.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

const char addon_code[] = "ENGINE_ADDON";

struct handle {
	struct engine engine;
	struct addon_callback callback;
	napi_async_cleanup_hook_handle hook;
	uv_async_t async;
	bool async_open; /* uv_close still has to run */
	bool stopped;
	uint32_t users; /* the external, the array buffers, the async handle */
};

static const napi_type_tag handle_tag = {0x6369696c69707262, 0x656e67696e650001};

static void release(struct handle *handle)
{
	if (--handle->users)
		return;
	engine_destroy(&handle->engine);
	free(handle);
}

static void drop_hook(struct handle *handle)
{
	if (handle->hook)
		napi_remove_async_cleanup_hook(handle->hook);
	handle->hook = NULL;
}

static void on_async_closed(uv_handle_t *async)
{
	struct handle *handle = async->data;

	handle->async_open = false;
	drop_hook(handle);
	release(handle);
}

static void stop_handle(struct handle *handle)
{
	if (handle->stopped)
		return;
	handle->stopped = true;
	engine_stop(&handle->engine);
	addon_callback_drop(&handle->callback);
	if (handle->async_open)
		uv_close((uv_handle_t *)&handle->async, on_async_closed);
	else
		drop_hook(handle);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data)
{
	struct handle *handle = data;

	(void)hook;
	stop_handle(handle);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct handle *handle = data;

	(void)env;
	(void)hint;
	stop_handle(handle);
	release(handle);
}

static void on_buffer_collected(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)data;
	release(hint);
}

static void on_event(uv_async_t *async)
{
	const struct handle *handle = async->data;

	addon_callback_call(&handle->callback, NULL);
}

static void notify(void *data)
{
	struct handle *handle = data;

	uv_async_send(&handle->async);
}

/* Reads `count` arguments, the first of them a handle. Throws and returns NULL when they do not fit. */
static struct handle *handle_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	return addon_arguments(env, info, count, argv) ? addon_external(env, argv[0], &handle_tag) : NULL;
}

static bool between(int32_t value, int32_t least, int32_t most)
{
	return value >= least && value <= most;
}

static bool options_are_sane(const int32_t *options)
{
	return between(options[OPTION_PATHS_MAX], 1, 1 << 20) &&
	       between(options[OPTION_TIMEOUT_MS], 1, 60000) && between(options[OPTION_TURN_MS], 1, 1000) &&
	       between(options[OPTION_PACKETS_PER_SECOND], 1, 10000000) &&
	       between(options[OPTION_BURST], 0, PROBE_RING - 2) &&
	       between(options[OPTION_BURST_SPACING_MS], 1, 1000) &&
	       between(options[OPTION_SOFT_TIMEOUT_MS], 1, options[OPTION_TIMEOUT_MS]) &&
	       between(options[OPTION_FLOWS], 0, ENGINE_FLOWS_MAX) && between(options[OPTION_DSCP], 0, 63) &&
	       between(options[OPTION_CPU_PERCENT], 1, 100) && options[OPTION_RECEIVE_BUFFER] > 0;
}

/* create(options: Int32Array, key: Uint8Array) -> handle | -errno */
static napi_value addon_create(napi_env env, napi_callback_info info)
{
	napi_value argv[2], external;
	size_t length = 0;
	const int32_t *options;
	const uint8_t *key;
	struct handle *handle;
	int result;

	if (!addon_arguments(env, info, 2, argv))
		return NULL;
	options = addon_array(env, argv[0], OPTION_COUNT * sizeof(*options), &length);
	key = options ? addon_array(env, argv[1], PROBE_KEY_BYTES, &length) : NULL;
	if (!key)
		return NULL;
	if (!options_are_sane(options))
		return addon_fail_range(env, "an option is out of range");
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return addon_number(env, -ENOMEM);
	handle->users = 1;
	result = engine_create(&handle->engine, options, key);
	if (result < 0 || napi_create_external(env, handle, on_collected, NULL, &external) != napi_ok) {
		release(handle);
		return addon_number(env, result < 0 ? result : -ENOMEM);
	}
	ADDON_CHECK(env, napi_type_tag_object(env, external, &handle_tag));
	ADDON_CHECK(env, napi_add_async_cleanup_hook(env, on_environment_end, handle, &handle->hook));
	return external;
}

/* openSockets(handle, origin, netnsFd or -1, family, source: Uint8Array of 0, 4 or 16, mode) -> 0 | -errno */
static napi_value addon_open_sockets(napi_env env, napi_callback_info info)
{
	napi_value argv[6];
	struct handle *handle = handle_arguments(env, info, 6, argv);
	struct socket_request request;
	int32_t origin, netns_fd, family, mode;
	size_t length = 0;
	const uint8_t *source;

	if (!handle)
		return NULL;
	ADDON_CHECK(env, napi_get_value_int32(env, argv[1], &origin));
	ADDON_CHECK(env, napi_get_value_int32(env, argv[2], &netns_fd));
	ADDON_CHECK(env, napi_get_value_int32(env, argv[3], &family));
	ADDON_CHECK(env, napi_get_value_int32(env, argv[5], &mode));
	source = addon_array(env, argv[4], 0, &length);
	if (!source)
		return NULL;
	if (handle->engine.started || handle->stopped || !between(origin, 0, ENGINE_ORIGINS_MAX - 1) ||
	    (family != 4 && family != 6) || !between(mode, MODE_BPF, MODE_DATAGRAM) ||
	    (length && length != (family == 4 ? 4u : 16u)))
		return addon_fail_range(env, "an argument is out of range");
	if ((uint32_t)origin >= handle->engine.origins)
		handle->engine.origins = (uint32_t)origin + 1;
	request = (struct socket_request){(uint32_t)origin, netns_fd, family, (enum engine_mode)mode,
					  length ? source : NULL};
	return addon_number(env, engine_open_sockets(&handle->engine, &request));
}

/* start(handle, onEvents) -> 0 | -errno; does not keep the process alive. Called once. */
static napi_value addon_start(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = handle_arguments(env, info, 2, argv);
	uv_loop_t *loop;
	int result;

	if (!handle)
		return NULL;
	if (handle->stopped || handle->engine.started)
		return addon_number(env, -EALREADY);
	if (!addon_callback_keep(env, &handle->callback, "ciliate.prober", argv[1]))
		return NULL;
	ADDON_CHECK(env, napi_get_uv_event_loop(env, &loop));
	result = uv_async_init(loop, &handle->async, on_event);
	if (result < 0)
		return addon_number(env, result);
	handle->async.data = handle;
	handle->async_open = true;
	handle->users++;
	uv_unref((uv_handle_t *)&handle->async);
	handle->engine.notify = notify;
	handle->engine.notify_data = handle;
	return addon_number(env, engine_start(&handle->engine));
}

/* command(handle, commands, count) -> 0 | -errno */
static napi_value addon_command(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct handle *handle = handle_arguments(env, info, 3, argv);
	uint32_t count = 0;
	size_t length = 0;
	const struct engine_command *commands;

	if (!handle)
		return NULL;
	ADDON_CHECK(env, napi_get_value_uint32(env, argv[2], &count));
	commands = addon_array(env, argv[1], (size_t)count * sizeof(*commands), &length);
	return commands ? addon_number(env, engine_command(&handle->engine, commands, count)) : NULL;
}

/* events(handle, records) -> how many were taken */
static napi_value addon_events(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = handle_arguments(env, info, 2, argv);
	size_t length = 0;
	struct engine_event *events;

	events = handle ? addon_array(env, argv[1], sizeof(*events), &length) : NULL;
	return events ? addon_number(env, engine_take_events(&handle->engine, events,
							     (uint32_t)(length / sizeof(*events))))
		      : NULL;
}

static napi_value view(napi_env env, struct handle *handle, void *bytes, size_t length)
{
	napi_value buffer;

	ADDON_CHECK(env, napi_create_external_arraybuffer(env, bytes, length, on_buffer_collected, handle,
							  &buffer));
	handle->users++;
	return buffer;
}

/* memory(handle) -> [records, accounts]: live array buffers, one entry a path. Called once. */
static napi_value addon_memory(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle = handle_arguments(env, info, 1, &argument);
	struct engine *engine;
	napi_value list, records, accounts;

	if (!handle)
		return NULL;
	engine = &handle->engine;
	records = view(env, handle, engine->records, engine->paths_max * sizeof(*engine->records));
	accounts = view(env, handle, engine->accounts, engine->paths_max * sizeof(*engine->accounts));
	if (!records || !accounts)
		return NULL;
	ADDON_CHECK(env, napi_create_array_with_length(env, 2, &list));
	ADDON_CHECK(env, napi_set_element(env, list, 0, records));
	ADDON_CHECK(env, napi_set_element(env, list, 1, accounts));
	return list;
}

/* share(handle, block, fd): the records of a block lie in the map's memory from now on -> 0 | -errno */
static napi_value addon_share(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct handle *handle = handle_arguments(env, info, 3, argv);
	uint32_t block = 0;
	int32_t fd = -1;

	if (!handle)
		return NULL;
	ADDON_CHECK(env, napi_get_value_uint32(env, argv[1], &block));
	ADDON_CHECK(env, napi_get_value_int32(env, argv[2], &fd));
	return addon_number(env, engine_share_records(&handle->engine, block, fd));
}

/* self(handle, Float64Array of SELF_COUNT): reading puts the longest lag back to 0 */
static napi_value addon_self(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = handle_arguments(env, info, 2, argv);
	napi_typedarray_type type;
	size_t length = 0;
	void *values = NULL;

	if (!handle)
		return NULL;
	ADDON_CHECK(env, napi_get_typedarray_info(env, argv[1], &type, &length, &values, NULL, NULL));
	if (type != napi_float64_array || length < SELF_COUNT)
		return addon_fail_range(env, "expected a Float64Array with room for all");
	engine_note_cpu(&handle->engine);
	for (int i = 0; i < SELF_COUNT; i++)
		((double *)values)[i] = (double)atomic_load(&handle->engine.self[i]);
	atomic_store(&handle->engine.self[SELF_LAG_MAX_NS], 0);
	((double *)values)[SELF_NOW_NS] = (double)probe_now_ns();
	return NULL;
}

/* stop(handle): ends the thread and closes the sockets; may be called twice */
static napi_value addon_stop(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle = handle_arguments(env, info, 1, &argument);

	if (handle)
		stop_handle(handle);
	return NULL;
}

/* layout() -> Int32Array of sizes and offsets, for the test that compares constants.ts with engine.h */
static napi_value addon_layout(napi_env env, napi_callback_info info)
{
	const int32_t layout[] = {
		OPTION_COUNT,
		SELF_COUNT,
		sizeof(struct engine_command),
		offsetof(struct engine_command, address),
		sizeof(struct engine_event),
		offsetof(struct engine_event, kind),
		offsetof(struct engine_event, offender),
		sizeof(struct probe_account),
		offsetof(struct probe_account, lost_in_a_row),
		offsetof(struct probe_account, generation),
		sizeof(struct probe_path),
		offsetof(struct probe_path, answered),
		offsetof(struct probe_path, hop_limit_last),
		offsetof(struct probe_path, histogram),
		PROBE_BUCKETS,
		PROBE_BLOCK,
		PROBE_MARK,
	};

	return addon_int32s(env, layout, sizeof(layout) / sizeof(layout[0]));
}

static napi_value init(napi_env env, napi_value exports)
{
	static const struct addon_method functions[] = {
		{"create", addon_create}, {"openSockets", addon_open_sockets},
		{"start", addon_start},	  {"command", addon_command},
		{"events", addon_events}, {"memory", addon_memory},
		{"share", addon_share},	  {"self", addon_self},
		{"stop", addon_stop},	  {"layout", addon_layout},
	};

	return addon_define(env, exports, functions, sizeof(functions) / sizeof(functions[0])) &&
			       routes_define(env, exports)
		       ? exports
		       : NULL;
}

NAPI_MODULE(engine, init)
