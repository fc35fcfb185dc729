// SPDX-License-Identifier: Apache-2.0
/*
 * TCP sockets for a proxy's hot path: each call is one system call, on the caller's buffer. Results are a
 * number or a negative errno; nothing blocks.
 *
 * Threads: everything runs on the JavaScript thread. Ownership: buffers are JavaScript's and are used only
 * during the call. A descriptor belongs to its handle from streamOpen() on, until streamDetach() gives it
 * back; it is closed by streamClose(), by the handle's collection or when the environment ends, whichever is
 * first. The callback is kept, and keeps what it refers to, until then.
 */
#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const napi_type_tag stream_tag = {0x6369696c73747265, 0x616d0000000001};

static void end_stream(void *data)
{
	struct stream *stream = data;

	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	const struct stream *stream = poll->data;
	uint32_t told = status < 0 ? EVENT_ERROR : 0;

	told |= (events & UV_READABLE ? EVENT_READABLE : 0) | (events & UV_WRITABLE ? EVENT_WRITABLE : 0);
	addon_callback_call(&stream->watch.callback, &told);
}

struct stream *stream_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct stream *stream =
		addon_arguments(env, info, count, argv) ? addon_external(env, argv[0], &stream_tag) : NULL;

	if (!stream || !stream->watch.closing)
		return stream;
	return (void *)addon_fail(env, "the stream is closed");
}

napi_value stream_result(napi_env env, ssize_t result)
{
	return addon_number(env, result < 0 ? -(double)errno : (double)result);
}

static napi_value make_stream(napi_env env, int fd, napi_value callback)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	napi_value external;

	if (!stream)
		return addon_fail(env, "out of memory");
	stream->watch.end = end_stream;
	stream->fd = -1;
	external = addon_watch_external(env, &stream->watch, &stream_tag);
	if (!external)
		return NULL;
	if (!addon_callback_keep(env, &stream->watch.callback, "ciliate:stream", callback) ||
	    addon_watch_open(env, &stream->watch, fd) != 0) {
		addon_watch_close(&stream->watch);
		return addon_fail(env, "cannot watch the descriptor");
	}
	stream->fd = fd;
	return external;
}

/* streamOpen(descriptor of a socket, onEvent(events)): stream; the descriptor is the stream's unless this
 * throws */
static napi_value open_call(napi_env env, napi_callback_info info)
{
	napi_valuetype type;
	napi_value argv[2];
	uint32_t fd;

	if (!addon_arguments(env, info, 2, argv) || napi_typeof(env, argv[1], &type) != napi_ok ||
	    type != napi_function)
		return addon_fail(env, "expected a descriptor and a function");
	return addon_u32(env, argv[0], &fd) ? make_stream(env, (int)fd, argv[1]) : NULL;
}

/* streamWatch(stream, events): 0 | -errno; a watched stream keeps the process alive */
static napi_value watch_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct stream *stream = stream_arguments(env, info, 2, argv);
	uint32_t events;
	int wanted;

	if (!stream || !addon_u32(env, argv[1], &events))
		return NULL;
	wanted = (events & EVENT_READABLE ? UV_READABLE : 0) | (events & EVENT_WRITABLE ? UV_WRITABLE : 0);
	return addon_number(env, wanted ? uv_poll_start(&stream->watch.poll, wanted, on_event)
					: uv_poll_stop(&stream->watch.poll));
}

/* streamRead(stream, bytes): how many were read, 0 at the end | -errno */
static napi_value read_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct stream *stream = stream_arguments(env, info, 2, argv);
	uint8_t *bytes;
	size_t length;

	if (!stream)
		return NULL;
	bytes = addon_bytes(env, argv[1], 1, &length);
	return bytes ? stream_result(env, recv(stream->fd, bytes, length, MSG_DONTWAIT)) : NULL;
}

/* streamWrite(stream, bytes): how many were taken | -errno */
static napi_value write_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct stream *stream = stream_arguments(env, info, 2, argv);
	uint8_t *bytes;
	size_t length;

	if (!stream)
		return NULL;
	bytes = addon_bytes(env, argv[1], 0, &length);
	return bytes ? stream_result(env, send(stream->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL))
		     : NULL;
}

/* streamShutdown(stream): 0 | -errno; sends the FIN */
static napi_value shutdown_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = stream_arguments(env, info, 1, &argument);

	return stream ? stream_result(env, shutdown(stream->fd, SHUT_WR)) : NULL;
}

/* streamNoDelay(stream): 0 | -errno */
static napi_value no_delay_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = stream_arguments(env, info, 1, &argument);
	int on = 1;

	if (!stream)
		return NULL;
	return stream_result(env, setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
}

/* streamError(stream): 0 | -errno that the socket has met; it is forgotten with that */
static napi_value error_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = stream_arguments(env, info, 1, &argument);
	socklen_t length = sizeof(int);
	int err = 0;

	if (!stream)
		return NULL;
	if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &err, &length))
		err = errno;
	return addon_number(env, -(double)err);
}

/* streamClose(stream, 1 to end it by a RST, else 0): may be called twice */
static napi_value close_call(napi_env env, napi_callback_info info)
{
	struct linger at_once = {1, 0};
	napi_value argv[2];
	struct stream *stream =
		addon_arguments(env, info, 2, argv) ? addon_external(env, argv[0], &stream_tag) : NULL;
	uint32_t reset;

	if (!stream || !addon_u32(env, argv[1], &reset))
		return NULL;
	if (reset && !stream->watch.closing)
		setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	addon_watch_close(&stream->watch);
	return NULL;
}

/* streamDetach(stream): its descriptor, which is the caller's from now on; the stream is closed */
static napi_value detach_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = stream_arguments(env, info, 1, &argument);
	int fd;

	if (!stream)
		return NULL;
	fd = stream->fd;
	stream->fd = -1;
	addon_watch_close(&stream->watch);
	return addon_number(env, fd);
}

bool stream_functions(napi_env env, napi_value exports)
{
	static const struct addon_method functions[] = {
		{"streamOpen", open_call},
		{"streamWatch", watch_call},
		{"streamRead", read_call},
		{"streamStamp", stream_stamp_call},
		{"streamReadStamped", stream_read_stamped_call},
		{"streamRoundTrip", stream_round_trip_call},
		{"streamWrite", write_call},
		{"streamShutdown", shutdown_call},
		{"streamNoDelay", no_delay_call},
		{"streamConnect", stream_connect_call},
		{"streamError", error_call},
		{"streamAccept", stream_accept_call},
		{"streamDetach", detach_call},
		{"streamClose", close_call},
	};

	return addon_define(env, exports, functions, sizeof(functions) / sizeof(functions[0]));
}
