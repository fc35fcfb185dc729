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
#include "../../src/base/native/watch.h"
#include "icmp.h"

#include <errno.h>
#include <stdlib.h>

const char addon_code[] = "ICMP_ADDON";

struct handle {
	struct addon_watch watch;
	struct icmp_socket sock;
};

static const napi_type_tag handle_tag = {0x6369696c69636d70, 0x736f636b65740001};

static void end_handle(void *data)
{
	struct handle *handle = data;

	icmp_close(&handle->sock);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct handle *handle = poll->data;

	/* libuv ends a poll on POLLERR without POLLPRI; a pending ICMP error is no reason to go deaf. */
	if (status < 0 && !handle->watch.closing)
		uv_poll_start(poll, UV_READABLE | UV_PRIORITIZED, on_readable);
	addon_callback_call(&handle->watch.callback, NULL);
}

/* Reads `count` arguments, the first of them a handle. Throws and returns NULL when they do not fit or it is
 * closed. */
static struct handle *handle_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct handle *handle =
		addon_arguments(env, info, count, argv) ? addon_external(env, argv[0], &handle_tag) : NULL;

	if (!handle || !handle->watch.closing)
		return handle;
	napi_throw_error(env, "ICMP_CLOSED", "the ICMP socket is closed");
	return NULL;
}

static bool params_are_sane(const int32_t *params)
{
	return (params[PARAM_FAMILY] == 4 || params[PARAM_FAMILY] == 6) &&
	       (params[PARAM_KIND] == KIND_RAW || params[PARAM_KIND] == KIND_DATAGRAM) &&
	       params[PARAM_PAYLOAD_BYTES] >= ICMP_COOKIE_BYTES && params[PARAM_PAYLOAD_BYTES] <= 65507 &&
	       params[PARAM_RECEIVE_BUFFER] > 0;
}

/* open(params: Int32Array, key: Uint8Array, source: Uint8Array of 0, 4 or 16) -> handle | -errno */
static napi_value addon_open(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	size_t length = 0, source_length = 0;
	const int32_t *params;
	const uint8_t *key, *source;
	struct handle *handle;
	int result;

	if (!addon_arguments(env, info, 3, argv))
		return NULL;
	params = addon_array(env, argv[0], PARAM_COUNT * sizeof(*params), &length);
	key = params ? addon_array(env, argv[1], PROBE_KEY_BYTES, &length) : NULL;
	source = key ? addon_array(env, argv[2], 0, &source_length) : NULL;
	if (!source)
		return NULL;
	if (!params_are_sane(params) ||
	    (source_length && source_length != (params[PARAM_FAMILY] == 4 ? 4u : 16u)))
		return addon_fail_range(env, "a parameter is out of range");
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return addon_number(env, -ENOMEM);
	handle->watch.end = end_handle;
	result = icmp_open(&handle->sock, params, key, source_length ? source : NULL);
	if (result < 0) {
		free(handle);
		return addon_number(env, result);
	}
	return addon_watch_external(env, &handle->watch, &handle_tag);
}

/* watch(handle, onReadable) -> 0 | -errno; does not keep the process alive. Called once. */
static napi_value addon_watch_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = handle_arguments(env, info, 2, argv);
	struct addon_watch *watch;
	int result, on = 1;

	if (!handle)
		return NULL;
	watch = &handle->watch;
	if (watch->callback.function)
		return addon_number(env, -EALREADY);
	if (!addon_callback_keep(env, &watch->callback, "ciliate.icmp", argv[1]))
		return NULL;
	/* Marks a full error queue as POLLPRI, which libuv reports instead of ending the poll. */
	setsockopt(handle->sock.fd, SOL_SOCKET, SO_SELECT_ERR_QUEUE, &on, sizeof(on));
	result = addon_watch_open(env, watch, handle->sock.fd);
	if (result < 0)
		return addon_number(env, result);
	uv_unref((uv_handle_t *)&watch->poll);
	return addon_number(env, uv_poll_start(&watch->poll, UV_READABLE | UV_PRIORITIZED, on_readable));
}

/* send(handle, records, count) -> how many the kernel took | -errno of the first */
static napi_value addon_send(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct handle *handle = handle_arguments(env, info, 3, argv);
	uint32_t count = 0;
	size_t length = 0;
	const struct icmp_send_record *records;

	if (!handle)
		return NULL;
	ADDON_CHECK(env, napi_get_value_uint32(env, argv[2], &count));
	records = addon_array(env, argv[1], (size_t)count * sizeof(*records), &length);
	return records ? addon_number(env, icmp_send(&handle->sock, records, count)) : NULL;
}

/* receive(handle, records) -> how many were read | -errno */
static napi_value addon_receive(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = handle_arguments(env, info, 2, argv);
	size_t length = 0;
	struct icmp_reply_record *records;

	if (!handle)
		return NULL;
	records = addon_array(env, argv[1], sizeof(*records), &length);
	return records ? addon_number(env, icmp_receive(&handle->sock, records,
							(uint32_t)(length / sizeof(*records))))
		       : NULL;
}

/* notices(handle, records) -> how many were read | -errno */
static napi_value addon_notices(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = handle_arguments(env, info, 2, argv);
	size_t length = 0;
	struct icmp_notice_record *records;

	if (!handle)
		return NULL;
	records = addon_array(env, argv[1], sizeof(*records), &length);
	return records ? addon_number(env, icmp_notices(&handle->sock, records,
							(uint32_t)(length / sizeof(*records))))
		       : NULL;
}

/* resetStamps(handle) -> 0 | -errno: transmit stamps are numbered from 0 again */
static napi_value addon_reset_stamps(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle = handle_arguments(env, info, 1, &argument);

	return handle ? addon_number(env, probe_reset_stamps(handle->sock.fd)) : NULL;
}

/* takeError(handle) -> the pending errno, cleared */
static napi_value addon_take_error(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle = handle_arguments(env, info, 1, &argument);

	return handle ? addon_number(env, probe_take_error(handle->sock.fd)) : NULL;
}

/* now(handle) -> monotonic nanoseconds since the socket was opened: the time of every record */
static napi_value addon_now(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle = handle_arguments(env, info, 1, &argument);

	return handle ? addon_number(env, (double)(probe_now_ns() - handle->sock.base_ns)) : NULL;
}

/* counters(handle, Float64Array) */
static napi_value addon_counters(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = handle_arguments(env, info, 2, argv);
	size_t length = 0;
	double *counters = handle ? addon_array(env, argv[1], COUNTER_COUNT * sizeof(double), &length) : NULL;

	if (counters)
		icmp_read_counters(&handle->sock, counters);
	return NULL;
}

/* close(handle): may be called twice */
static napi_value addon_close(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle =
		addon_arguments(env, info, 1, &argument) ? addon_external(env, argument, &handle_tag) : NULL;

	if (handle)
		addon_watch_close(&handle->watch);
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

	return addon_int32s(env, layout, sizeof(layout) / sizeof(layout[0]));
}

static napi_value init(napi_env env, napi_value exports)
{
	static const struct addon_method functions[] = {
		{"open", addon_open},
		{"watch", addon_watch_call},
		{"send", addon_send},
		{"receive", addon_receive},
		{"notices", addon_notices},
		{"resetStamps", addon_reset_stamps},
		{"takeError", addon_take_error},
		{"now", addon_now},
		{"counters", addon_counters},
		{"close", addon_close},
		{"layout", addon_layout},
	};

	return addon_define(env, exports, functions, sizeof(functions) / sizeof(functions[0])) ? exports
											       : NULL;
}

NAPI_MODULE(icmp, init)
