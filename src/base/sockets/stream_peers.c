// SPDX-License-Identifier: Apache-2.0
/* Streams that begin: to an address, and from whoever connects. */
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
napi_value stream_connect_call(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct stream *stream = stream_arguments(env, info, 3, argv);
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
napi_value stream_accept_call(napi_env env, napi_callback_info info)
{
	struct sockaddr_storage peer = {}, own = {};
	socklen_t length = sizeof(peer);
	napi_value argument, array, value;
	struct stream *stream = stream_arguments(env, info, 1, &argument);
	int fd;

	if (!stream)
		return NULL;
	fd = accept4(stream->fd, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return stream_result(env, fd);
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
