// SPDX-License-Identifier: Apache-2.0
/*
 * Node-API surface of the datagram sockets: integers and buffers in, a number or a negative errno out.
 *
 * Threads: everything runs on the JavaScript thread. Ownership: buffers are JavaScript's and are used only
 * during the call. Sockets belong to the external handle; they are closed by datagramsClose(), by the
 * handle's collection or when the environment ends, whichever is first. The descriptor for replies stays the
 * caller's.
 */
#include "addon.h"
#include "datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

struct handle {
	struct datagram_set set;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	uv_poll_t poll;
	bool poll_open; /* uv_close of the poll handle still has to run */
	bool closing;
	bool collected; /* the external is gone: free when the poll handle is */
};

static const napi_type_tag handle_tag = {0x6369696c64677261, 0x6d736574000001};

/* The second step of every end: the hook goes, and the memory when nobody needs it. */
static void free_if_done(struct handle *handle)
{
	if (handle->poll_open)
		return;
	if (handle->closing && handle->hook) {
		napi_remove_async_cleanup_hook(handle->hook);
		handle->hook = NULL;
	}
	if (handle->collected)
		free(handle);
}

static void on_poll_closed(uv_handle_t *poll)
{
	struct handle *handle = poll->data;

	handle->poll_open = false;
	free_if_done(handle);
}

static void close_handle(struct handle *handle)
{
	if (handle->closing)
		return;
	handle->closing = true;
	if (handle->callback)
		napi_delete_reference(handle->env, handle->callback);
	if (handle->context)
		napi_async_destroy(handle->env, handle->context);
	handle->callback = NULL;
	handle->context = NULL;
	if (handle->poll_open) {
		uv_poll_stop(&handle->poll);
		uv_close((uv_handle_t *)&handle->poll, on_poll_closed);
	}
	datagram_close(&handle->set);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data)
{
	close_handle(data);
	free_if_done(data);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct handle *handle = data;

	close_handle(handle);
	handle->collected = true;
	free_if_done(handle);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct handle *handle = poll->data;
	napi_env env = handle->env;
	napi_value callback, receiver, result, exception;
	napi_handle_scope scope;

	if (handle->closing || !handle->callback || napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	if (napi_get_reference_value(env, handle->callback, &callback) == napi_ok &&
	    napi_get_global(env, &receiver) == napi_ok &&
	    napi_make_callback(env, handle->context, receiver, callback, 0, NULL, &result) ==
		    napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &exception) == napi_ok)
		napi_fatal_exception(env, exception);
	napi_close_handle_scope(env, scope);
}

/* Reads `count` arguments, the first of them a handle. Throws and returns NULL when they do not fit or it is
 * closed. */
static struct handle *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	size_t given = count;
	struct handle *handle = NULL;
	napi_valuetype type;
	bool ours = false;

	if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) != napi_ok || given < count ||
	    napi_typeof(env, argv[0], &type) != napi_ok || type != napi_external ||
	    napi_check_object_type_tag(env, argv[0], &handle_tag, &ours) != napi_ok || !ours ||
	    napi_get_value_external(env, argv[0], (void **)&handle) != napi_ok) {
		addon_fail(env, "expected a handle of this addon and more arguments");
		return NULL;
	}
	if (handle->closing) {
		addon_fail(env, "the datagram sockets are closed");
		return NULL;
	}
	return handle;
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
	napi_value name, external;
	uv_loop_t *loop;

	if (napi_create_external(env, handle, on_collected, NULL, &external) != napi_ok) {
		datagram_close(&handle->set);
		free(handle);
		return addon_fail(env, "cannot make the handle");
	}
	/* From here on the collection of the external ends what is half made. */
	if (napi_type_tag_object(env, external, &handle_tag) != napi_ok ||
	    napi_create_reference(env, callback, 1, &handle->callback) != napi_ok ||
	    napi_create_string_utf8(env, "ciliate:datagrams", NAPI_AUTO_LENGTH, &name) != napi_ok ||
	    napi_async_init(env, NULL, name, &handle->context) != napi_ok ||
	    napi_add_async_cleanup_hook(env, on_environment_end, handle, &handle->hook) != napi_ok ||
	    napi_get_uv_event_loop(env, &loop) != napi_ok ||
	    uv_poll_init(loop, &handle->poll, handle->set.epoll_fd) != 0) {
		close_handle(handle);
		return addon_fail(env, "cannot watch the sockets");
	}
	handle->poll_open = true;
	handle->poll.data = handle;
	if (uv_poll_start(&handle->poll, UV_READABLE, on_readable) != 0) {
		close_handle(handle);
		return addon_fail(env, "cannot watch the sockets");
	}
	return external;
}

/* datagramsOpen(onReadable): handle | -errno; keeps the process alive until it is closed */
static napi_value open_call(napi_env env, napi_callback_info info)
{
	struct handle *handle;
	napi_valuetype type;
	napi_value callback;
	size_t count = 1;
	int err;

	if (napi_get_cb_info(env, info, &count, &callback, NULL, NULL) != napi_ok || count < 1 ||
	    napi_typeof(env, callback, &type) != napi_ok || type != napi_function)
		return addon_fail(env, "expected a function");
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return addon_number(env, -ENOMEM);
	handle->env = env;
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
	size_t count = 4, length;
	uint32_t fd;
	bool v6;

	if (napi_get_cb_info(env, info, &count, argv, NULL, NULL) != napi_ok || count < 4)
		return addon_fail(env, "expected 4 arguments");
	if (!addon_u32(env, argv[0], &fd) || !get_family(env, argv[2], &v6))
		return NULL;
	flow = get_flow(env, argv[1]);
	bytes = flow ? addon_bytes(env, argv[3], 0, &length) : NULL;
	return bytes ? addon_number(env, datagram_reply((int)fd, flow, v6, bytes, length)) : NULL;
}

/* datagramsClose(handle): may be called twice */
static napi_value close_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle = NULL;
	bool ours = false;
	size_t count = 1;

	if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok || count < 1 ||
	    napi_check_object_type_tag(env, argument, &handle_tag, &ours) != napi_ok || !ours ||
	    napi_get_value_external(env, argument, (void **)&handle) != napi_ok)
		return addon_fail(env, "expected a handle of this addon");
	close_handle(handle);
	return NULL;
}

/* datagramsLayout(): sizes that datagrams.ts mirrors, for its test */
static napi_value layout_call(napi_env env, napi_callback_info info)
{
	const uint32_t sizes[] = {sizeof(struct datagram_flow), sizeof(struct datagram_record),
				  DATAGRAM_BATCH, DATAGRAM_SLOT_BYTES};
	napi_value array, value;

	if (napi_create_array(env, &array) != napi_ok)
		return addon_fail(env, "cannot make the result");
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (napi_create_uint32(env, sizes[i], &value) != napi_ok ||
		    napi_set_element(env, array, i, value) != napi_ok)
			return addon_fail(env, "cannot make the result");
	return array;
}

/* Adds the functions to the addon's exports; false with an exception when it cannot. */
bool datagram_functions(napi_env env, napi_value exports)
{
	const napi_property_descriptor functions[] = {
		{"datagramsOpen", NULL, open_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsAdd", NULL, add_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsConnect", NULL, connect_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsRemove", NULL, remove_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsSend", NULL, send_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsReceive", NULL, receive_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsReply", NULL, reply_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsClose", NULL, close_call, NULL, NULL, NULL, napi_default, NULL},
		{"datagramsLayout", NULL, layout_call, NULL, NULL, NULL, napi_default, NULL},
	};

	return napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions) ==
	       napi_ok;
}
