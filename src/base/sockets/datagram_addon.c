// SPDX-License-Identifier: Apache-2.0
/*
 * Node-API surface of the datagram sockets: integers and buffers in, a number or a negative errno out.
 *
 * Threads: everything runs on the JavaScript thread. Ownership: buffers are JavaScript's and are used only
 * during the call. Sockets belong to the external handle; they are closed by datagramsClose(), by the
 * handle's collection or when the environment ends, whichever is first. The descriptor for replies stays the
 * caller's.
 */
#include "../native/watch.h"
#include "datagram.h"

#include <errno.h>
#include <stdlib.h>

struct handle {
	struct addon_watch watch;
	struct datagram_set set;
};

static const napi_type_tag handle_tag = {0x6369696c64677261, 0x6d736574000001};

static void end_handle(void *data)
{
	struct handle *handle = data;

	datagram_close(&handle->set);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	const struct handle *handle = poll->data;

	addon_callback_call(&handle->watch.callback, NULL);
}

/* Reads `count` arguments, the first of them a handle. Throws and returns NULL when they do not fit or it is
 * closed. */
static struct handle *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct handle *handle =
		addon_arguments(env, info, count, argv) ? addon_external(env, argv[0], &handle_tag) : NULL;

	if (!handle || !handle->watch.closing)
		return handle;
	return (void *)addon_fail(env, "the datagram sockets are closed");
}

static bool get_family(napi_env env, napi_value value, bool *v6)
{
	uint32_t family;

	if (!addon_u32(env, value, &family))
		return false;
	if (family != 4 && family != 6) {
		addon_fail(env, "expected family 4 or 6");
		return false;
	}
	*v6 = family == 6;
	return true;
}

static const struct datagram_flow *get_flow(napi_env env, napi_value value)
{
	size_t length;
	const struct datagram_flow *flow = (const void *)addon_bytes(env, value, sizeof(*flow), &length);

	if (flow && (flow->client_port > UINT16_MAX || flow->server_port > UINT16_MAX)) {
		addon_fail(env, "a port is out of range");
		return NULL;
	}
	return flow;
}

static napi_value watch(napi_env env, struct handle *handle, napi_value callback)
{
	napi_value external = addon_watch_external(env, &handle->watch, &handle_tag);

	if (!external)
		return NULL;
	if (addon_callback_keep(env, &handle->watch.callback, "ciliate:datagrams", callback) &&
	    addon_watch_open(env, &handle->watch, handle->set.epoll_fd) == 0 &&
	    uv_poll_start(&handle->watch.poll, UV_READABLE, on_readable) == 0)
		return external;
	addon_watch_close(&handle->watch);
	return addon_fail(env, "cannot watch the sockets");
}

/* datagramsOpen(onReadable): handle | -errno; keeps the process alive until it is closed */
static napi_value open_call(napi_env env, napi_callback_info info)
{
	struct handle *handle;
	napi_valuetype type;
	napi_value callback;
	int err;

	if (!addon_arguments(env, info, 1, &callback) || napi_typeof(env, callback, &type) != napi_ok ||
	    type != napi_function)
		return addon_fail(env, "expected a function");
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return addon_number(env, -ENOMEM);
	handle->watch.end = end_handle;
	err = datagram_open(&handle->set);
	if (err) {
		free(handle);
		return addon_number(env, err);
	}
	return watch(env, handle, callback);
}

/* datagramsAdd(handle, descriptor, family): tag | -errno; the descriptor is the handle's when it succeeds */
static napi_value add_call(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct handle *handle = arguments(env, info, 3, argv);
	uint32_t fd, tag = 0;
	bool v6;
	int err;

	if (!handle || !addon_u32(env, argv[1], &fd) || !get_family(env, argv[2], &v6))
		return NULL;
	err = datagram_add(&handle->set, (int)fd, v6, &tag);
	return addon_number(env, err ? (double)err : (double)tag);
}

/* datagramsConnect(handle, flow, family, mark): tag | -errno */
static napi_value connect_call(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct handle *handle = arguments(env, info, 4, argv);
	const struct datagram_flow *flow = handle ? get_flow(env, argv[1]) : NULL;
	uint32_t mark, tag = 0;
	bool v6;
	int err;

	if (!flow || !get_family(env, argv[2], &v6) || !addon_u32(env, argv[3], &mark))
		return NULL;
	err = datagram_connect(&handle->set, flow, v6, mark, &tag);
	return addon_number(env, err ? (double)err : (double)tag);
}

/* datagramsRemove(handle, tag): 0 | -ENOENT */
static napi_value remove_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct handle *handle = arguments(env, info, 2, argv);
	uint32_t tag;

	return handle && addon_u32(env, argv[1], &tag) ? addon_number(env, datagram_remove(&handle->set, tag))
						       : NULL;
}

/* datagramsSend(handle, tag, bytes): 0 | -errno */
static napi_value send_call(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct handle *handle = arguments(env, info, 3, argv);
	const uint8_t *bytes;
	size_t length;
	uint32_t tag;

	if (!handle || !addon_u32(env, argv[1], &tag))
		return NULL;
	bytes = addon_bytes(env, argv[2], 0, &length);
	return bytes ? addon_number(env, datagram_send(&handle->set, tag, bytes, length)) : NULL;
}

/* datagramsReceive(handle, bytes, records): how many records | -errno */
static napi_value receive_call(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct handle *handle = arguments(env, info, 3, argv);
	uint8_t *bytes, *records;
	size_t length;

	if (!handle)
		return NULL;
	bytes = addon_bytes(env, argv[1], (size_t)DATAGRAM_BATCH * DATAGRAM_SLOT_BYTES, &length);
	if (!bytes)
		return NULL;
	records = addon_bytes(env, argv[2], DATAGRAM_BATCH * sizeof(struct datagram_record), &length);
	return records ? addon_number(env, datagram_receive(&handle->set, bytes, (void *)records)) : NULL;
}

/* datagramsReply(descriptor of a raw socket, flow, family, bytes): 0 | -errno */
static napi_value reply_call(napi_env env, napi_callback_info info)
{
	const struct datagram_flow *flow;
	const uint8_t *bytes;
	napi_value argv[4];
	size_t length;
	uint32_t fd;
	bool v6;

	if (!addon_arguments(env, info, 4, argv) || !addon_u32(env, argv[0], &fd) ||
	    !get_family(env, argv[2], &v6))
		return NULL;
	flow = get_flow(env, argv[1]);
	bytes = flow ? addon_bytes(env, argv[3], 0, &length) : NULL;
	return bytes ? addon_number(env, datagram_reply((int)fd, flow, v6, bytes, length)) : NULL;
}

/* datagramsClose(handle): may be called twice */
static napi_value close_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle =
		addon_arguments(env, info, 1, &argument) ? addon_external(env, argument, &handle_tag) : NULL;

	if (handle)
		addon_watch_close(&handle->watch);
	return NULL;
}

/* datagramsLayout(): sizes that datagrams.ts mirrors, for its test */
static napi_value layout_call(napi_env env, napi_callback_info info)
{
	const int32_t sizes[] = {sizeof(struct datagram_flow), sizeof(struct datagram_record), DATAGRAM_BATCH,
				 DATAGRAM_SLOT_BYTES};

	return addon_int32s(env, sizes, sizeof(sizes) / sizeof(sizes[0]));
}

/* Adds the functions to the addon's exports; false with an exception when it cannot. */
bool datagram_functions(napi_env env, napi_value exports)
{
	static const struct addon_method functions[] = {
		{"datagramsOpen", open_call},	    {"datagramsAdd", add_call},
		{"datagramsConnect", connect_call}, {"datagramsRemove", remove_call},
		{"datagramsSend", send_call},	    {"datagramsReceive", receive_call},
		{"datagramsReply", reply_call},	    {"datagramsClose", close_call},
		{"datagramsLayout", layout_call},
	};

	return addon_define(env, exports, functions, sizeof(functions) / sizeof(functions[0]));
}
