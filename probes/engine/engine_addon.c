// SPDX-License-Identifier: Apache-2.0
/*
 * Node-API surface of the probe engine: integers and buffers in, a count or a negative errno out. Options,
 * defaults and names live in the TypeScript facade, the only importer.
 *
 * Threads: all functions here run on JavaScript's thread; the prober's own thread calls only uv_async_send.
 * Ownership: the engine belongs to the external handle. stop() ends the thread and closes the sockets; the
 * memory of records lives until the handle and every array buffer over it have been collected.
 */
#include "engine.h"
#include "route.h"

#include <errno.h>
#include <node_api.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct handle {
	struct engine engine;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	uv_async_t async;
	bool async_open; /* uv_close still has to run */
	bool stopped;
	uint32_t users; /* the external, the array buffers, the async handle */
};

static const napi_type_tag handle_tag = {0x6369696c69707262, 0x656e67696e650001};

#define CHECK(env, call)                                                                                     \
	do {                                                                                                 \
		if ((call) != napi_ok) {                                                                     \
			fail(env);                                                                           \
			return NULL;                                                                         \
		}                                                                                            \
	} while (0)

static void fail(napi_env env)
{
	const napi_extended_error_info *info = NULL;
	bool pending = false;

	napi_is_exception_pending(env, &pending);
	if (pending)
		return;
	napi_get_last_error_info(env, &info);
	napi_throw_error(env, "ENGINE_ADDON",
			 info && info->error_message ? info->error_message
						     : "the engine addon was called wrongly");
}

static napi_value number(napi_env env, double value)
{
	napi_value result = NULL;

	CHECK(env, napi_create_double(env, value, &result));
	return result;
}

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
	if (handle->callback)
		napi_delete_reference(handle->env, handle->callback);
	if (handle->context)
		napi_async_destroy(handle->env, handle->context);
	handle->callback = NULL;
	handle->context = NULL;
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
	struct handle *handle = async->data;
	napi_env env = handle->env;
	napi_handle_scope scope;
	napi_value callback, receiver, result;

	if (handle->stopped || !handle->callback || napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	if (napi_get_reference_value(env, handle->callback, &callback) == napi_ok &&
	    napi_get_global(env, &receiver) == napi_ok &&
	    napi_make_callback(env, handle->context, receiver, callback, 0, NULL, &result) ==
		    napi_pending_exception) {
		napi_value exception;

		if (napi_get_and_clear_last_exception(env, &exception) == napi_ok)
			napi_fatal_exception(env, exception);
	}
	napi_close_handle_scope(env, scope);
}

static void notify(void *data)
{
	struct handle *handle = data;

	uv_async_send(&handle->async);
}

/* Arguments of one call: the handle, and up to five more. Throws and returns NULL when they do not fit. */
static struct handle *handle_argument(napi_env env, napi_callback_info info, size_t wanted, napi_value *rest)
{
	napi_value arguments[6];
	size_t count = 6;
	napi_valuetype type;
	bool ours = false;
	void *data = NULL;

	if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok || count < wanted ||
	    napi_typeof(env, arguments[0], &type) != napi_ok || type != napi_external ||
	    napi_check_object_type_tag(env, arguments[0], &handle_tag, &ours) != napi_ok || !ours ||
	    napi_get_value_external(env, arguments[0], &data) != napi_ok) {
		napi_throw_type_error(env, "ENGINE_ADDON", "expected (handle, ...) of this addon");
		return NULL;
	}
	for (size_t i = 1; i < wanted; i++)
		rest[i - 1] = arguments[i];
	return data;
}

/* The bytes of a typed array of at least `least` bytes; NULL and a pending exception otherwise. */
static void *bytes_argument(napi_env env, napi_value value, size_t least, size_t *length)
{
	bool is_array = false;
	napi_typedarray_type type;
	size_t elements = 0;
	void *bytes = NULL;

	if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
	    napi_get_typedarray_info(env, value, &type, &elements, &bytes, NULL, NULL) != napi_ok) {
		napi_throw_type_error(env, "ENGINE_ADDON", "expected a typed array");
		return NULL;
	}
	if (type == napi_int32_array || type == napi_uint32_array)
		elements *= 4;
	if (elements < least) {
		napi_throw_range_error(env, "ENGINE_ADDON", "the typed array is too short");
		return NULL;
	}
	*length = elements;
	return bytes;
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
	       options[OPTION_RECEIVE_BUFFER] > 0;
}

/* create(options: Int32Array, key: Uint8Array) -> handle | -errno */
static napi_value addon_create(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], external;
	size_t count = 2, length = 0;
	const int32_t *options;
	const uint8_t *key;
	struct handle *handle;
	int result;

	CHECK(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL));
	options = count == 2 ? bytes_argument(env, arguments[0], OPTION_COUNT * sizeof(*options), &length)
			     : NULL;
	key = options ? bytes_argument(env, arguments[1], ENGINE_KEY_BYTES, &length) : NULL;
	if (!key || !options_are_sane(options)) {
		fail(env);
		return NULL;
	}
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return number(env, -ENOMEM);
	handle->env = env;
	handle->users = 1;
	result = engine_create(&handle->engine, options, key);
	if (result < 0 || napi_create_external(env, handle, on_collected, NULL, &external) != napi_ok) {
		release(handle);
		return number(env, result < 0 ? result : -ENOMEM);
	}
	CHECK(env, napi_type_tag_object(env, external, &handle_tag));
	CHECK(env, napi_add_async_cleanup_hook(env, on_environment_end, handle, &handle->hook));
	return external;
}

/* openSockets(handle, origin, netnsFd or -1, family, source: Uint8Array of 0, 4 or 16, mode) -> 0 | -errno */
static napi_value addon_open_sockets(napi_env env, napi_callback_info info)
{
	napi_value rest[5];
	struct handle *handle = handle_argument(env, info, 6, rest);
	struct socket_request request;
	int32_t origin, netns_fd, family, mode;
	size_t length = 0;
	const uint8_t *source;

	if (!handle)
		return NULL;
	CHECK(env, napi_get_value_int32(env, rest[0], &origin));
	CHECK(env, napi_get_value_int32(env, rest[1], &netns_fd));
	CHECK(env, napi_get_value_int32(env, rest[2], &family));
	CHECK(env, napi_get_value_int32(env, rest[4], &mode));
	source = bytes_argument(env, rest[3], 0, &length);
	if (handle->engine.started || handle->stopped || !between(origin, 0, ENGINE_ORIGINS_MAX - 1) ||
	    (family != 4 && family != 6) || !between(mode, MODE_BPF, MODE_DATAGRAM) ||
	    (length && length != (family == 4 ? 4u : 16u))) {
		napi_throw_range_error(env, "ENGINE_ADDON", "an argument is out of range");
		return NULL;
	}
	if ((uint32_t)origin >= handle->engine.origins)
		handle->engine.origins = (uint32_t)origin + 1;
	request = (struct socket_request){(uint32_t)origin, netns_fd, family, (enum engine_mode)mode,
					  length ? source : NULL};
	return number(env, engine_open_sockets(&handle->engine, &request));
}

/* start(handle, onEvents) -> 0 | -errno; does not keep the process alive. Called once. */
static napi_value addon_start(napi_env env, napi_callback_info info)
{
	napi_value rest[1], name;
	struct handle *handle = handle_argument(env, info, 2, rest);
	uv_loop_t *loop;
	int result;

	if (!handle)
		return NULL;
	if (handle->stopped || handle->engine.started)
		return number(env, -EALREADY);
	CHECK(env, napi_create_string_utf8(env, "ciliate.prober", NAPI_AUTO_LENGTH, &name));
	CHECK(env, napi_async_init(env, NULL, name, &handle->context));
	CHECK(env, napi_create_reference(env, rest[0], 1, &handle->callback));
	CHECK(env, napi_get_uv_event_loop(env, &loop));
	result = uv_async_init(loop, &handle->async, on_event);
	if (result < 0)
		return number(env, result);
	handle->async.data = handle;
	handle->async_open = true;
	handle->users++;
	uv_unref((uv_handle_t *)&handle->async);
	handle->engine.notify = notify;
	handle->engine.notify_data = handle;
	return number(env, engine_start(&handle->engine));
}

/* command(handle, commands, count) -> 0 | -errno */
static napi_value addon_command(napi_env env, napi_callback_info info)
{
	napi_value rest[2];
	struct handle *handle = handle_argument(env, info, 3, rest);
	uint32_t count = 0;
	size_t length = 0;
	const struct engine_command *commands;

	if (!handle)
		return NULL;
	CHECK(env, napi_get_value_uint32(env, rest[1], &count));
	commands = bytes_argument(env, rest[0], (size_t)count * sizeof(*commands), &length);
	return commands ? number(env, engine_command(&handle->engine, commands, count)) : NULL;
}

/* events(handle, records) -> how many were taken */
static napi_value addon_events(napi_env env, napi_callback_info info)
{
	napi_value rest[1];
	struct handle *handle = handle_argument(env, info, 2, rest);
	size_t length = 0;
	struct engine_event *events;

	events = handle ? bytes_argument(env, rest[0], sizeof(*events), &length) : NULL;
	return events ? number(env, engine_take_events(&handle->engine, events,
						       (uint32_t)(length / sizeof(*events))))
		      : NULL;
}

static napi_value view(napi_env env, struct handle *handle, void *bytes, size_t length)
{
	napi_value buffer;

	CHECK(env,
	      napi_create_external_arraybuffer(env, bytes, length, on_buffer_collected, handle, &buffer));
	handle->users++;
	return buffer;
}

/* memory(handle) -> [records, accounts]: live array buffers, one entry a path. Called once. */
static napi_value addon_memory(napi_env env, napi_callback_info info)
{
	struct handle *handle = handle_argument(env, info, 1, NULL);
	struct engine *engine;
	napi_value list, records, accounts;

	if (!handle)
		return NULL;
	engine = &handle->engine;
	records = view(env, handle, engine->records, engine->paths_max * sizeof(*engine->records));
	accounts = view(env, handle, engine->accounts, engine->paths_max * sizeof(*engine->accounts));
	CHECK(env, napi_create_array_with_length(env, 2, &list));
	CHECK(env, napi_set_element(env, list, 0, records));
	CHECK(env, napi_set_element(env, list, 1, accounts));
	return list;
}

/* self(handle, Float64Array of SELF_COUNT): reading puts the longest lag back to 0 */
static napi_value addon_self(napi_env env, napi_callback_info info)
{
	napi_value rest[1];
	struct handle *handle = handle_argument(env, info, 2, rest);
	napi_typedarray_type type;
	size_t length = 0;
	void *values = NULL;

	if (!handle)
		return NULL;
	CHECK(env, napi_get_typedarray_info(env, rest[0], &type, &length, &values, NULL, NULL));
	if (type != napi_float64_array || length < SELF_COUNT) {
		napi_throw_range_error(env, "ENGINE_ADDON", "expected a Float64Array with room for all");
		return NULL;
	}
	engine_note_cpu(&handle->engine);
	for (int i = 0; i < SELF_COUNT; i++)
		((double *)values)[i] = (double)atomic_load(&handle->engine.self[i]);
	atomic_store(&handle->engine.self[SELF_LAG_MAX_NS], 0);
	((double *)values)[SELF_NOW_NS] = (double)engine_now_ns();
	return NULL;
}

/* stop(handle): ends the thread and closes the sockets; may be called twice */
static napi_value addon_stop(napi_env env, napi_callback_info info)
{
	struct handle *handle = handle_argument(env, info, 1, NULL);

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
	};
	napi_value buffer, array;
	void *bytes;

	(void)info;
	CHECK(env, napi_create_arraybuffer(env, sizeof(layout), &bytes, &buffer));
	memcpy(bytes, layout, sizeof(layout));
	CHECK(env, napi_create_typedarray(env, napi_int32_array, sizeof(layout) / 4, buffer, 0, &array));
	return array;
}

static napi_value init(napi_env env, napi_value exports)
{
	const napi_property_descriptor functions[] = {
		{"create", NULL, addon_create, NULL, NULL, NULL, napi_enumerable, NULL},
		{"openSockets", NULL, addon_open_sockets, NULL, NULL, NULL, napi_enumerable, NULL},
		{"start", NULL, addon_start, NULL, NULL, NULL, napi_enumerable, NULL},
		{"command", NULL, addon_command, NULL, NULL, NULL, napi_enumerable, NULL},
		{"events", NULL, addon_events, NULL, NULL, NULL, napi_enumerable, NULL},
		{"memory", NULL, addon_memory, NULL, NULL, NULL, napi_enumerable, NULL},
		{"self", NULL, addon_self, NULL, NULL, NULL, napi_enumerable, NULL},
		{"stop", NULL, addon_stop, NULL, NULL, NULL, napi_enumerable, NULL},
		{"layout", NULL, addon_layout, NULL, NULL, NULL, napi_enumerable, NULL},
	};

	CHECK(env, napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions));
	CHECK(env, routes_define(env, exports));
	return exports;
}

NAPI_MODULE(engine, init)
