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
#include "addon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define NS_PER_S 1000000000ll

/* What a stream is watched for and what it is told of; mirrored in tcp-stream.ts. */
enum event {
	EVENT_READABLE = 1,
	EVENT_WRITABLE = 2,
	/* A reset or another error: reading tells which. The stream is not watched any more. */
	EVENT_ERROR = 4
};

struct stream {
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	uv_poll_t poll;
	int fd;
	bool poll_open; /* uv_close of the poll handle still has to run */
	bool closing;
	bool collected; /* the external is gone: free when the poll handle is */
};

static const napi_type_tag stream_tag = {0x6369696c73747265, 0x616d0000000001};

/* The second step of every end: the hook goes, and the memory when nobody needs it. */
static void free_if_done(struct stream *stream)
{
	if (stream->poll_open)
		return;
	if (stream->closing && stream->hook) {
		napi_remove_async_cleanup_hook(stream->hook);
		stream->hook = NULL;
	}
	if (stream->collected)
		free(stream);
}

static void on_poll_closed(uv_handle_t *poll)
{
	struct stream *stream = poll->data;

	stream->poll_open = false;
	free_if_done(stream);
}

/* Ends everything but the descriptor, which it returns. */
static int release(struct stream *stream)
{
	int fd = stream->fd;

	stream->closing = true;
	stream->fd = -1;
	if (stream->callback)
		napi_delete_reference(stream->env, stream->callback);
	if (stream->context)
		napi_async_destroy(stream->env, stream->context);
	stream->callback = NULL;
	stream->context = NULL;
	if (stream->poll_open) {
		uv_poll_stop(&stream->poll);
		uv_close((uv_handle_t *)&stream->poll, on_poll_closed);
	}
	return fd;
}

static void close_stream(struct stream *stream)
{
	int fd;

	if (stream->closing)
		return;
	fd = release(stream);
	if (fd >= 0)
		close(fd);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data)
{
	close_stream(data);
	free_if_done(data);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct stream *stream = data;

	close_stream(stream);
	stream->collected = true;
	free_if_done(stream);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct stream *stream = poll->data;
	napi_env env = stream->env;
	napi_value callback, receiver, argument, result, exception;
	napi_handle_scope scope;
	uint32_t told = status < 0 ? EVENT_ERROR : 0;

	if (stream->closing || napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	told |= (events & UV_READABLE ? EVENT_READABLE : 0) | (events & UV_WRITABLE ? EVENT_WRITABLE : 0);
	if (napi_get_reference_value(env, stream->callback, &callback) == napi_ok &&
	    napi_get_global(env, &receiver) == napi_ok &&
	    napi_create_uint32(env, told, &argument) == napi_ok &&
	    napi_make_callback(env, stream->context, receiver, callback, 1, &argument, &result) ==
		    napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &exception) == napi_ok)
		napi_fatal_exception(env, exception);
	napi_close_handle_scope(env, scope);
}

/* Reads `count` arguments, the first of them a stream. Throws and returns NULL when they do not fit or it is
 * closed.
 */
static struct stream *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	size_t given = count;
	struct stream *stream = NULL;
	napi_valuetype type;
	bool ours = false;

	if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) != napi_ok || given < count ||
	    napi_typeof(env, argv[0], &type) != napi_ok || type != napi_external ||
	    napi_check_object_type_tag(env, argv[0], &stream_tag, &ours) != napi_ok || !ours ||
	    napi_get_value_external(env, argv[0], (void **)&stream) != napi_ok) {
		addon_fail(env, "expected a stream of this addon and more arguments");
		return NULL;
	}
	if (stream->closing) {
		addon_fail(env, "the stream is closed");
		return NULL;
	}
	return stream;
}

static napi_value result_of(napi_env env, ssize_t result)
{
	return addon_number(env, result < 0 ? -(double)errno : (double)result);
}

static napi_value make_stream(napi_env env, struct stream *stream, napi_value callback)
{
	napi_value name, external;
	uv_loop_t *loop;

	if (napi_create_external(env, stream, on_collected, NULL, &external) != napi_ok) {
		free(stream);
		return addon_fail(env, "cannot make the stream");
	}
	/* From here on the collection of the external ends what is half made. */
	if (napi_type_tag_object(env, external, &stream_tag) != napi_ok ||
	    napi_create_reference(env, callback, 1, &stream->callback) != napi_ok ||
	    napi_create_string_utf8(env, "ciliate:stream", NAPI_AUTO_LENGTH, &name) != napi_ok ||
	    napi_async_init(env, NULL, name, &stream->context) != napi_ok ||
	    napi_add_async_cleanup_hook(env, on_environment_end, stream, &stream->hook) != napi_ok ||
	    napi_get_uv_event_loop(env, &loop) != napi_ok ||
	    uv_poll_init_socket(loop, &stream->poll, stream->fd) != 0) {
		release(stream);
		return addon_fail(env, "cannot watch the descriptor");
	}
	stream->poll_open = true;
	stream->poll.data = stream;
	return external;
}

/* streamOpen(descriptor of a socket, onEvent(events)): stream; the descriptor is the stream's unless this
 * throws */
static napi_value open_call(napi_env env, napi_callback_info info)
{
	struct stream *stream;
	napi_valuetype type;
	napi_value argv[2];
	size_t count = 2;
	uint32_t fd;

	if (napi_get_cb_info(env, info, &count, argv, NULL, NULL) != napi_ok || count < 2 ||
	    napi_typeof(env, argv[1], &type) != napi_ok || type != napi_function)
		return addon_fail(env, "expected a descriptor and a function");
	if (!addon_u32(env, argv[0], &fd))
		return NULL;
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return addon_fail(env, "out of memory");
	stream->env = env;
	stream->fd = (int)fd;
	return make_stream(env, stream, argv[1]);
}

/* streamWatch(stream, events): 0 | -errno; a watched stream keeps the process alive */
static napi_value watch_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct stream *stream = arguments(env, info, 2, argv);
	uint32_t events;
	int wanted;

	if (!stream || !addon_u32(env, argv[1], &events))
		return NULL;
	wanted = (events & EVENT_READABLE ? UV_READABLE : 0) | (events & EVENT_WRITABLE ? UV_WRITABLE : 0);
	return addon_number(env, wanted ? uv_poll_start(&stream->poll, wanted, on_event)
					: uv_poll_stop(&stream->poll));
}

/* streamRead(stream, bytes): how many were read, 0 at the end | -errno */
static napi_value read_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct stream *stream = arguments(env, info, 2, argv);
	uint8_t *bytes;
	size_t length;

	if (!stream)
		return NULL;
	bytes = addon_bytes(env, argv[1], 1, &length);
	return bytes ? result_of(env, recv(stream->fd, bytes, length, MSG_DONTWAIT)) : NULL;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now = {};

	clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* When the kernel received what was read, CLOCK_MONOTONIC, ns; 0: it does not say. */
static int64_t received_ns(struct msghdr *message)
{
	struct cmsghdr *control;
	struct timespec at;

	for (control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&at, CMSG_DATA(control), sizeof(at));
		return at.tv_sec * NS_PER_S + at.tv_nsec - clock_ns(CLOCK_REALTIME) +
		       clock_ns(CLOCK_MONOTONIC);
	}
	return 0;
}

/* streamStamp(stream): 0 | -errno; from now on the kernel notes when something comes */
static napi_value stamp_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = arguments(env, info, 1, &argument);
	int on = 1;

	if (!stream)
		return NULL;
	return result_of(env, setsockopt(stream->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)));
}

/* streamReadStamped(stream, bytes, 8 bytes): as streamRead; the time of its last byte, see received_ns */
static napi_value read_stamped_call(napi_env env, napi_callback_info info)
{
	char control[CMSG_SPACE(sizeof(struct timespec)) * 4];
	napi_value argv[3];
	struct stream *stream = arguments(env, info, 3, argv);
	struct iovec vector;
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	size_t stamp_length;
	uint8_t *stamp;
	int64_t at;
	ssize_t result;

	if (!stream)
		return NULL;
	vector.iov_base = addon_bytes(env, argv[1], 1, &vector.iov_len);
	if (!vector.iov_base)
		return NULL;
	stamp = addon_bytes(env, argv[2], sizeof(at), &stamp_length);
	if (!stamp)
		return NULL;
	result = recvmsg(stream->fd, &message, MSG_DONTWAIT);
	at = result > 0 ? received_ns(&message) : 0;
	memcpy(stamp, &at, sizeof(at));
	return result_of(env, result);
}

/*
 * streamRoundTrip(stream): the kernel's estimate, us; 0: none, or a segment was sent twice | -errno. Between
 * the handshake and the first byte sent it is the time from SYN to SYN-ACK.
 */
static napi_value round_trip_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = arguments(env, info, 1, &argument);
	struct tcp_info tcp = {};
	socklen_t length = sizeof(tcp);

	if (!stream)
		return NULL;
	if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &tcp, &length))
		return result_of(env, -1);
	return addon_number(env, tcp.tcpi_total_retrans ? 0 : (double)tcp.tcpi_rtt);
}

/* streamWrite(stream, bytes): how many were taken | -errno */
static napi_value write_call(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct stream *stream = arguments(env, info, 2, argv);
	uint8_t *bytes;
	size_t length;

	if (!stream)
		return NULL;
	bytes = addon_bytes(env, argv[1], 0, &length);
	return bytes ? result_of(env, send(stream->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL)) : NULL;
}

/* streamShutdown(stream): 0 | -errno; sends the FIN */
static napi_value shutdown_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = arguments(env, info, 1, &argument);

	return stream ? result_of(env, shutdown(stream->fd, SHUT_WR)) : NULL;
}

/* streamNoDelay(stream): 0 | -errno */
static napi_value no_delay_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = arguments(env, info, 1, &argument);
	int on = 1;

	if (!stream)
		return NULL;
	return result_of(env, setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
}

/* Returns the length of the address, 0 when the text is none of that family. */
static socklen_t read_address(const char *text, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *v6 = (void *)out;
	struct sockaddr_in *v4 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
}

/* streamConnect(stream, address, port): 0 when it has begun or is done | -errno; then it becomes writable */
static napi_value connect_call(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct stream *stream = arguments(env, info, 3, argv);
	char text[INET6_ADDRSTRLEN + 1];
	struct sockaddr_storage address;
	socklen_t length;
	size_t size = 0;
	uint32_t port;
	int err;

	if (!stream || !addon_u32(env, argv[2], &port))
		return NULL;
	if (napi_get_value_string_utf8(env, argv[1], text, sizeof(text), &size) != napi_ok ||
	    port > UINT16_MAX)
		return addon_fail(env, "expected an address and a port");
	length = read_address(text, (uint16_t)port, &address);
	if (!length)
		return addon_fail(env, "expected an address");
	err = connect(stream->fd, (struct sockaddr *)&address, length) ? errno : 0;
	return addon_number(env, err == EINPROGRESS ? 0 : -(double)err);
}

/* streamError(stream): 0 | -errno that the socket has met; it is forgotten with that */
static napi_value error_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = arguments(env, info, 1, &argument);
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
	struct stream *stream = NULL;
	napi_value argv[2];
	size_t count = 2;
	bool ours = false;
	uint32_t reset;

	if (napi_get_cb_info(env, info, &count, argv, NULL, NULL) != napi_ok || count < 2 ||
	    napi_check_object_type_tag(env, argv[0], &stream_tag, &ours) != napi_ok || !ours ||
	    napi_get_value_external(env, argv[0], (void **)&stream) != napi_ok)
		return addon_fail(env, "expected a stream of this addon");
	if (!addon_u32(env, argv[1], &reset))
		return NULL;
	if (reset && !stream->closing)
		setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close_stream(stream);
	return NULL;
}

/* streamDetach(stream): its descriptor, which is the caller's from now on; the stream is closed */
static napi_value detach_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = arguments(env, info, 1, &argument);

	return stream ? addon_number(env, release(stream)) : NULL;
}

static bool set_text(napi_env env, napi_value array, uint32_t index, const struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *v6 = (const void *)address;
	const struct sockaddr_in *v4 = (const void *)address;
	bool is_v6 = address->ss_family == AF_INET6;
	char text[INET6_ADDRSTRLEN] = "";
	napi_value value;

	inet_ntop(address->ss_family, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, text,
		  sizeof(text));
	return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok &&
	       napi_set_element(env, array, index, value) == napi_ok &&
	       napi_create_uint32(env, ntohs(is_v6 ? v6->sin6_port : v4->sin_port), &value) == napi_ok &&
	       napi_set_element(env, array, index + 1, value) == napi_ok;
}

/*
 * streamAccept(listening stream): [descriptor, peer's address, its port, own address, its port] | -errno. An
 * address is empty when the connection has gone already.
 */
static napi_value accept_call(napi_env env, napi_callback_info info)
{
	struct sockaddr_storage peer = {}, own = {};
	socklen_t length = sizeof(peer);
	napi_value argument, array, value;
	struct stream *stream = arguments(env, info, 1, &argument);
	int fd;

	if (!stream)
		return NULL;
	fd = accept4(stream->fd, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return result_of(env, fd);
	length = sizeof(own);
	if (getsockname(fd, (struct sockaddr *)&own, &length))
		own.ss_family = AF_UNSPEC;
	if (napi_create_array_with_length(env, 5, &array) == napi_ok &&
	    napi_create_int32(env, fd, &value) == napi_ok &&
	    napi_set_element(env, array, 0, value) == napi_ok && set_text(env, array, 1, &peer) &&
	    set_text(env, array, 3, &own))
		return array;
	close(fd);
	return addon_fail(env, "cannot make the result");
}

bool stream_functions(napi_env env, napi_value exports)
{
	const napi_property_descriptor functions[] = {
		{"streamOpen", NULL, open_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamWatch", NULL, watch_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamRead", NULL, read_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamStamp", NULL, stamp_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamReadStamped", NULL, read_stamped_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamRoundTrip", NULL, round_trip_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamWrite", NULL, write_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamShutdown", NULL, shutdown_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamNoDelay", NULL, no_delay_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamConnect", NULL, connect_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamError", NULL, error_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamAccept", NULL, accept_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamDetach", NULL, detach_call, NULL, NULL, NULL, napi_default, NULL},
		{"streamClose", NULL, close_call, NULL, NULL, NULL, napi_default, NULL},
	};

	return napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions) ==
	       napi_ok;
}
