// SPDX-License-Identifier: Apache-2.0
/*
 * Node-API surface of the ICMP addon: integers and buffers in, a count or a negative errno out. Policy,
 * defaults and matching live in the TypeScript facade, the only importer.
 *
 * Threads: everything runs on the JavaScript thread; only a socket that is opened in another network
 * namespace is made on a thread of its own, which has ended before open() returns. Ownership: records are
 * JavaScript's and are used only during the call. The socket belongs to the external handle; it is closed by
 * close(), by the handle's collection, or when the environment ends, whichever is first.
 */
#include "icmp.h"

#include <errno.h>
#include <node_api.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct handle {
	struct icmp_socket sock;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	uv_poll_t poll;
	bool poll_open; /* uv_close of the poll handle still has to run */
	bool closing;
	bool collected; /* the external is gone: free when the poll handle is */
};

static const napi_type_tag handle_tag = {0x6369696c69636d70, 0x736f636b65740001};

#define CHECK(env, call)                                                                                     \
	do {                                                                                                 \
		if ((call) != napi_ok) {                                                                     \
			fail(env);                                                                           \
			return NULL;                                                                         \
		}                                                                                            \
	} while (0)

static bool is_pending(napi_env env)
{
	bool pending = false;

	napi_is_exception_pending(env, &pending);
	return pending;
}

static void fail(napi_env env)
{
	const napi_extended_error_info *info = NULL;

	if (is_pending(env))
		return;
	napi_get_last_error_info(env, &info);
	napi_throw_error(env, "ICMP_ADDON",
			 info && info->error_message ? info->error_message
						     : "the ICMP addon was called wrongly");
}

static napi_value number(napi_env env, double value)
{
	napi_value result = NULL;

	CHECK(env, napi_create_double(env, value, &result));
	return result;
}

static void free_if_done(struct handle *handle)
{
	if (handle->collected && !handle->poll_open)
		free(handle);
}

static void on_poll_closed(uv_handle_t *poll)
{
	struct handle *handle = poll->data;

	handle->poll_open = false;
	if (handle->hook) {
		napi_remove_async_cleanup_hook(handle->hook);
		handle->hook = NULL;
	}
	free_if_done(handle);
}

static void drop_callback(struct handle *handle)
{
	if (handle->callback)
		napi_delete_reference(handle->env, handle->callback);
	if (handle->context)
		napi_async_destroy(handle->env, handle->context);
	handle->callback = NULL;
	handle->context = NULL;
}

static void close_handle(struct handle *handle)
{
	if (handle->closing)
		return;
	handle->closing = true;
	drop_callback(handle);
	if (handle->poll_open) {
		uv_poll_stop(&handle->poll);
		uv_close((uv_handle_t *)&handle->poll, on_poll_closed);
	}
	icmp_close(&handle->sock);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data)
{
	struct handle *handle = data;

	close_handle(handle);
	if (!handle->poll_open && handle->hook) {
		napi_remove_async_cleanup_hook(hook);
		handle->hook = NULL;
	}
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct handle *handle = data;

	(void)env;
	(void)hint;
	close_handle(handle);
	handle->collected = true;
	if (!handle->poll_open && handle->hook) {
		napi_remove_async_cleanup_hook(handle->hook);
		handle->hook = NULL;
	}
	free_if_done(handle);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct handle *handle = poll->data;
	napi_env env = handle->env;
	napi_handle_scope scope;
	napi_value callback, receiver, result;

	(void)events;
	if (handle->closing || !handle->callback || napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	/* libuv ends a poll on POLLERR without POLLPRI; a pending ICMP error is no reason to go deaf. */
	if (status < 0)
		uv_poll_start(poll, UV_READABLE | UV_PRIORITIZED, on_readable);
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

/* The handle in `value`; NULL and a pending exception when it is none of this addon. */
static struct handle *tagged_handle(napi_env env, napi_value value)
{
	napi_valuetype type;
	bool ours = false;
	void *data = NULL;

	if (napi_typeof(env, value, &type) == napi_ok && type == napi_external &&
	    napi_check_object_type_tag(env, value, &handle_tag, &ours) == napi_ok && ours &&
	    napi_get_value_external(env, value, &data) == napi_ok)
		return data;
	napi_throw_type_error(env, "ICMP_ADDON", "expected a handle of this addon");
	return NULL;
}

/* Arguments of one call: the handle, and up to two more. Throws and returns NULL when they do not fit. */
static struct handle *handle_argument(napi_env env, napi_callback_info info, size_t wanted, napi_value *rest)
{
	napi_value arguments[3];
	size_t count = 3;
	struct handle *handle;

	if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok || count < wanted) {
		napi_throw_type_error(env, "ICMP_ADDON", "expected (handle, ...)");
		return NULL;
	}
	handle = tagged_handle(env, arguments[0]);
	if (!handle)
		return NULL;
	for (size_t i = 1; i < wanted; i++)
		rest[i - 1] = arguments[i];
	if (handle->closing) {
		napi_throw_error(env, "ICMP_CLOSED", "the ICMP socket is closed");
		return NULL;
	}
	return handle;
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
		napi_throw_type_error(env, "ICMP_ADDON", "expected a typed array");
		return NULL;
	}
	if (type == napi_int32_array || type == napi_uint32_array)
		elements *= 4;
	else if (type == napi_float64_array)
		elements *= 8;
	if (elements < least) {
		napi_throw_range_error(env, "ICMP_ADDON", "the typed array is too short");
		return NULL;
	}
	*length = elements;
	return bytes;
}

static bool params_are_sane(const int32_t *params)
{
	return (params[PARAM_FAMILY] == 4 || params[PARAM_FAMILY] == 6) &&
	       (params[PARAM_KIND] == KIND_RAW || params[PARAM_KIND] == KIND_DATAGRAM) &&
	       params[PARAM_PAYLOAD_BYTES] >= ICMP_COOKIE_BYTES && params[PARAM_PAYLOAD_BYTES] <= 65507 &&
	       params[PARAM_RECEIVE_BUFFER] > 0;
}

static napi_value make_external(napi_env env, struct handle *handle)
{
	napi_value external;

	if (napi_create_external(env, handle, on_collected, NULL, &external) != napi_ok) {
		icmp_close(&handle->sock);
		free(handle);
		fail(env);
		return NULL;
	}
	CHECK(env, napi_type_tag_object(env, external, &handle_tag));
	CHECK(env, napi_add_async_cleanup_hook(env, on_environment_end, handle, &handle->hook));
	return external;
}

/* open(params: Int32Array, key: Uint8Array, source: Uint8Array of 0, 4 or 16) -> handle | -errno */
static napi_value addon_open(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	size_t count = 3, length = 0, source_length = 0;
	const int32_t *params;
	const uint8_t *key, *source;
	struct handle *handle;
	int result;

	CHECK(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL));
	if (count < 3) {
		napi_throw_type_error(env, "ICMP_ADDON", "expected (params, key, source)");
		return NULL;
	}
	params = bytes_argument(env, arguments[0], PARAM_COUNT * sizeof(*params), &length);
	key = params ? bytes_argument(env, arguments[1], ICMP_KEY_BYTES, &length) : NULL;
	if (!key)
		return NULL;
	source = bytes_argument(env, arguments[2], 0, &source_length);
	if (!source && source_length == 0 && is_pending(env))
		return NULL;
	if (!params_are_sane(params) ||
	    (source_length && source_length != (params[PARAM_FAMILY] == 4 ? 4u : 16u))) {
		napi_throw_range_error(env, "ICMP_ADDON", "a parameter is out of range");
		return NULL;
	}
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return number(env, -ENOMEM);
	handle->env = env;
	result = icmp_open(&handle->sock, params, key, source_length ? source : NULL);
	if (result < 0) {
		free(handle);
		return number(env, result);
	}
	return make_external(env, handle);
}

static napi_value start_poll(napi_env env, struct handle *handle)
{
	int on = 1;
	uv_loop_t *loop;
	int result;

	CHECK(env, napi_get_uv_event_loop(env, &loop));
	/* Marks a full error queue as POLLPRI, which libuv reports instead of ending the poll. */
	setsockopt(handle->sock.fd, SOL_SOCKET, SO_SELECT_ERR_QUEUE, &on, sizeof(on));
	result = uv_poll_init(loop, &handle->poll, handle->sock.fd);
	if (result == 0) {
		handle->poll_open = true;
		handle->poll.data = handle;
		uv_unref((uv_handle_t *)&handle->poll);
	}
	return number(env, result);
}

/* watch(handle, onReadable) -> 0 | -errno; does not keep the process alive. Called once. */
static napi_value addon_watch(napi_env env, napi_callback_info info)
{
	napi_value rest[1], name, started;
	struct handle *handle = handle_argument(env, info, 2, rest);

	if (!handle || handle->callback)
		return handle ? number(env, -EALREADY) : NULL;
	CHECK(env, napi_create_string_utf8(env, "ciliate.icmp", NAPI_AUTO_LENGTH, &name));
	CHECK(env, napi_async_init(env, NULL, name, &handle->context));
	CHECK(env, napi_create_reference(env, rest[0], 1, &handle->callback));
	started = start_poll(env, handle);
	if (!started || !handle->poll_open)
		return started;
	return number(env, uv_poll_start(&handle->poll, UV_READABLE | UV_PRIORITIZED, on_readable));
}

/* send(handle, records, count) -> how many the kernel took | -errno of the first */
static napi_value addon_send(napi_env env, napi_callback_info info)
{
	napi_value rest[2];
	struct handle *handle = handle_argument(env, info, 3, rest);
	uint32_t count = 0;
	size_t length = 0;
	const struct icmp_send_record *records;

	if (!handle)
		return NULL;
	CHECK(env, napi_get_value_uint32(env, rest[1], &count));
	records = bytes_argument(env, rest[0], (size_t)count * sizeof(*records), &length);
	return records ? number(env, icmp_send(&handle->sock, records, count)) : NULL;
}

/* receive(handle, records) -> how many were read | -errno */
static napi_value addon_receive(napi_env env, napi_callback_info info)
{
	napi_value rest[1];
	struct handle *handle = handle_argument(env, info, 2, rest);
	size_t length = 0;
	struct icmp_reply_record *records;

	if (!handle)
		return NULL;
	records = bytes_argument(env, rest[0], sizeof(*records), &length);
	return records ? number(env,
				icmp_receive(&handle->sock, records, (uint32_t)(length / sizeof(*records))))
		       : NULL;
}

/* notices(handle, records) -> how many were read | -errno */
static napi_value addon_notices(napi_env env, napi_callback_info info)
{
	napi_value rest[1];
	struct handle *handle = handle_argument(env, info, 2, rest);
	size_t length = 0;
	struct icmp_notice_record *records;

	if (!handle)
		return NULL;
	records = bytes_argument(env, rest[0], sizeof(*records), &length);
	return records ? number(env,
				icmp_notices(&handle->sock, records, (uint32_t)(length / sizeof(*records))))
		       : NULL;
}

/* resetStamps(handle) -> 0 | -errno: transmit stamps are numbered from 0 again */
static napi_value addon_reset_stamps(napi_env env, napi_callback_info info)
{
	struct handle *handle = handle_argument(env, info, 1, NULL);

	return handle ? number(env, icmp_reset_stamps(&handle->sock)) : NULL;
}

/* takeError(handle) -> the pending errno, cleared */
static napi_value addon_take_error(napi_env env, napi_callback_info info)
{
	struct handle *handle = handle_argument(env, info, 1, NULL);

	return handle ? number(env, icmp_take_error(&handle->sock)) : NULL;
}

/* now(handle) -> monotonic nanoseconds since the socket was opened: the time of every record */
static napi_value addon_now(napi_env env, napi_callback_info info)
{
	struct handle *handle = handle_argument(env, info, 1, NULL);

	return handle ? number(env, (double)(icmp_monotonic_ns() - handle->sock.base_ns)) : NULL;
}

/* counters(handle, Float64Array) */
static napi_value addon_counters(napi_env env, napi_callback_info info)
{
	napi_value rest[1];
	struct handle *handle = handle_argument(env, info, 2, rest);
	size_t length = 0;
	double *counters =
		handle ? bytes_argument(env, rest[0], COUNTER_COUNT * sizeof(double), &length) : NULL;

	if (counters)
		icmp_read_counters(&handle->sock, counters);
	return NULL;
}

/* close(handle): may be called twice */
static napi_value addon_close(napi_env env, napi_callback_info info)
{
	napi_value argument;
	size_t count = 1;
	struct handle *handle;

	CHECK(env, napi_get_cb_info(env, info, &count, &argument, NULL, NULL));
	if (count < 1) {
		napi_throw_type_error(env, "ICMP_ADDON", "expected (handle)");
		return NULL;
	}
	handle = tagged_handle(env, argument);
	if (handle)
		close_handle(handle);
	return NULL;
}

/* layout() -> Int32Array of sizes and offsets, for the test that compares constants.ts with this file */
static napi_value addon_layout(napi_env env, napi_callback_info info)
{
	const int32_t layout[] = {
		sizeof(struct icmp_send_record),
		sizeof(struct icmp_reply_record),
		sizeof(struct icmp_notice_record),
		PARAM_COUNT,
		COUNTER_COUNT,
		offsetof(struct icmp_reply_record, class),
		offsetof(struct icmp_reply_record, flags),
		offsetof(struct icmp_notice_record, kind),
		offsetof(struct icmp_notice_record, mtu),
		offsetof(struct icmp_notice_record, offender),
		offsetof(struct icmp_notice_record, target),
		ICMP_BATCH_MAX,
		ICMP_COOKIE_BYTES,
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
		{"open", NULL, addon_open, NULL, NULL, NULL, napi_enumerable, NULL},
		{"watch", NULL, addon_watch, NULL, NULL, NULL, napi_enumerable, NULL},
		{"send", NULL, addon_send, NULL, NULL, NULL, napi_enumerable, NULL},
		{"receive", NULL, addon_receive, NULL, NULL, NULL, napi_enumerable, NULL},
		{"notices", NULL, addon_notices, NULL, NULL, NULL, napi_enumerable, NULL},
		{"resetStamps", NULL, addon_reset_stamps, NULL, NULL, NULL, napi_enumerable, NULL},
		{"takeError", NULL, addon_take_error, NULL, NULL, NULL, napi_enumerable, NULL},
		{"now", NULL, addon_now, NULL, NULL, NULL, napi_enumerable, NULL},
		{"counters", NULL, addon_counters, NULL, NULL, NULL, napi_enumerable, NULL},
		{"close", NULL, addon_close, NULL, NULL, NULL, napi_enumerable, NULL},
		{"layout", NULL, addon_layout, NULL, NULL, NULL, napi_enumerable, NULL},
	};

	CHECK(env, napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions));
	return exports;
}

NAPI_MODULE(icmp, init)
