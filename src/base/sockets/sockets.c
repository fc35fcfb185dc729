// SPDX-License-Identifier: Apache-2.0
/*
 * Sockets that JavaScript cannot make.
 *
 * Threads: a network namespace belongs to a thread. The calling one enters it, makes the socket and goes
 * back, all within one call; no other thread is touched. The descriptor belongs to the process and is the
 * caller's from then on. Nothing is kept here, so there is nothing to do at the environment's exit. Results:
 * [value, step]; a value below 0 is -errno and `step` says at what. Wrong types throw.
 */
#include "../native/addon.h"
#include "datagram.h"
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <node_api.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char addon_code[] = "SOCKETS_ARGUMENT";

/* Order known to index.ts. */
enum step {
	STEP_NETNS,
	STEP_SOCKET,
	STEP_MARK,
	STEP_TRANSPARENT,
	STEP_FREEBIND,
	STEP_V6ONLY,
	STEP_REUSE,
	STEP_BIND,
	STEP_LISTEN,
	STEP_INTERFACE,
	STEP_CHECKSUM,
	STEP_FILTER,
	STEP_TRAFFIC_CLASS
};

enum flag {
	FLAG_STREAM = 1,
	FLAG_TRANSPARENT = 2,
	FLAG_FREEBIND = 4,
	FLAG_V6ONLY = 8,
	FLAG_REUSE = 16,
	FLAG_MARK = 32,
	FLAG_BIND = 64,
	FLAG_LISTEN = 128,
	FLAG_RAW_UDP = 256
};

struct request {
	char netns[4096];
	int family;
	uint32_t flags, mark, port, backlog, traffic_class;
	char address[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
	char device[IF_NAMESIZE];
	/* Either a socket or, with a device, its index. */
	int result;
	enum step step;
};

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

/* Reads `address` and `port` into a socket address. Returns its length, or 0 with errno set. */
static socklen_t read_address(const struct request *request, struct sockaddr_storage *out)
{
	char text[sizeof(request->address)];
	struct sockaddr_in6 *v6 = (void *)out;
	struct sockaddr_in *v4 = (void *)out;
	char *zone;

	memset(out, 0, sizeof(*out));
	memcpy(text, request->address, sizeof(text));
	errno = EINVAL;
	if (request->family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(request->port);
		return inet_pton(AF_INET, text, &v4->sin_addr) == 1 ? sizeof(*v4) : 0;
	}
	zone = strchr(text, '%');
	if (zone) {
		*zone++ = '\0';
		v6->sin6_scope_id = if_nametoindex(zone);
		if (!v6->sin6_scope_id)
			return 0;
		errno = EINVAL;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(request->port);
	return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
}

/*
 * A raw socket that only sends. Without the filter it would get a copy of every datagram of the machine. The
 * kernel fills in the UDP checksum for IPv6, at this offset of the header.
 */
static int configure_raw(int fd, struct request *request)
{
	struct sock_filter none[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog program = {1, none};

	request->step = STEP_FILTER;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		return -1;
	request->step = STEP_CHECKSUM;
	return request->family == AF_INET6 ? set_int(fd, SOL_IPV6, IPV6_CHECKSUM, 6) : 0;
}

static int configure(int fd, struct request *request)
{
	bool v6 = request->family == AF_INET6;
	uint32_t flags = request->flags;
	struct sockaddr_storage address;
	socklen_t length;

	if (flags & FLAG_RAW_UDP && configure_raw(fd, request))
		return -1;
	request->step = STEP_MARK;
	if (flags & FLAG_MARK && set_int(fd, SOL_SOCKET, SO_MARK, request->mark))
		return -1;
	request->step = STEP_TRAFFIC_CLASS;
	if (request->traffic_class && (v6 ? set_int(fd, SOL_IPV6, IPV6_TCLASS, request->traffic_class)
					  : set_int(fd, SOL_IP, IP_TOS, request->traffic_class)))
		return -1;
	request->step = STEP_TRANSPARENT;
	if (flags & FLAG_TRANSPARENT &&
	    (v6 ? set_int(fd, SOL_IPV6, IPV6_TRANSPARENT, 1) : set_int(fd, SOL_IP, IP_TRANSPARENT, 1)))
		return -1;
	request->step = STEP_FREEBIND;
	if (flags & FLAG_FREEBIND &&
	    (v6 ? set_int(fd, SOL_IPV6, IPV6_FREEBIND, 1) : set_int(fd, SOL_IP, IP_FREEBIND, 1)))
		return -1;
	request->step = STEP_V6ONLY;
	if (v6 && !(flags & FLAG_RAW_UDP) && set_int(fd, SOL_IPV6, IPV6_V6ONLY, (flags & FLAG_V6ONLY) != 0))
		return -1;
	request->step = STEP_REUSE;
	if (flags & FLAG_REUSE && set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1))
		return -1;
	request->step = STEP_BIND;
	if (flags & FLAG_BIND) {
		length = read_address(request, &address);
		if (!length || bind(fd, (struct sockaddr *)&address, length))
			return -1;
	}
	request->step = STEP_LISTEN;
	return flags & FLAG_LISTEN ? listen(fd, request->backlog) : 0;
}

static void open_socket(struct request *request)
{
	bool raw = request->flags & FLAG_RAW_UDP;
	int type = raw ? SOCK_RAW : request->flags & FLAG_STREAM ? SOCK_STREAM : SOCK_DGRAM;
	int fd;

	request->step = STEP_SOCKET;
	fd = socket(request->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, raw ? IPPROTO_UDP : 0);
	request->result = fd < 0 ? -errno : fd;
	if (fd >= 0 && configure(fd, request)) {
		request->result = -errno;
		close(fd);
	}
}

static void find_interface(struct request *request)
{
	unsigned int index = if_nametoindex(request->device);

	request->step = STEP_INTERFACE;
	request->result = index ? (int)index : -errno;
}

static void work(struct request *request)
{
	if (request->device[0])
		find_interface(request);
	else
		open_socket(request);
}

/* Only with the right to enter our own one can we leave another again: whoever may not go back may not go. */
static void enter_and_work(struct request *request)
{
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int other = open(request->netns, O_RDONLY | O_CLOEXEC);

	request->step = STEP_NETNS;
	if (own < 0 || other < 0 || setns(other, CLONE_NEWNET)) {
		request->result = -errno;
	} else {
		work(request);
		/* All that this thread did from here on would be done in the wrong place. */
		if (setns(own, CLONE_NEWNET))
			abort();
	}
	if (own >= 0)
		close(own);
	if (other >= 0)
		close(other);
}

static void run(struct request *request)
{
	if (request->netns[0])
		enter_and_work(request);
	else
		work(request);
}

static bool get_string(napi_env env, napi_value value, char *out, size_t size)
{
	size_t length = 0;

	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		addon_fail(env, "expected a string");
	else if (length >= size || napi_get_value_string_utf8(env, value, out, size, &length) != napi_ok)
		addon_fail(env, "string too long");
	else if (strlen(out) != length)
		addon_fail(env, "string holds a NUL byte");
	else
		return true;
	return false;
}

static napi_value result_of(napi_env env, const struct request *request)
{
	napi_value array, value, step;

	if (napi_create_array_with_length(env, 2, &array) == napi_ok &&
	    napi_create_int32(env, request->result, &value) == napi_ok &&
	    napi_create_int32(env, request->step, &step) == napi_ok &&
	    napi_set_element(env, array, 0, value) == napi_ok &&
	    napi_set_element(env, array, 1, step) == napi_ok)
		return array;
	if (!request->device[0] && request->result >= 0)
		close(request->result);
	return addon_fail(env, "cannot make the result");
}

/* openSocket(netns or '', family 4|6, flags, mark, address or '', port, backlog, traffic class):
 * [descriptor | -errno, step]
 */
static napi_value open_socket_call(napi_env env, napi_callback_info info)
{
	struct request request = {};
	napi_value argv[8];
	uint32_t family;

	if (!addon_arguments(env, info, 8, argv) ||
	    !get_string(env, argv[0], request.netns, sizeof(request.netns)) ||
	    !addon_u32(env, argv[1], &family) || !addon_u32(env, argv[2], &request.flags) ||
	    !addon_u32(env, argv[3], &request.mark) ||
	    !get_string(env, argv[4], request.address, sizeof(request.address)) ||
	    !addon_u32(env, argv[5], &request.port) || !addon_u32(env, argv[6], &request.backlog) ||
	    !addon_u32(env, argv[7], &request.traffic_class))
		return NULL;
	if (request.port > UINT16_MAX || (family != 4 && family != 6))
		return addon_fail(env, "port or family out of range");
	request.family = family == 6 ? AF_INET6 : AF_INET;
	run(&request);
	return result_of(env, &request);
}

/* interfaceIndex(netns or '', name): [index | -errno, step] */
static napi_value interface_index_call(napi_env env, napi_callback_info info)
{
	struct request request = {};
	napi_value argv[2];

	if (!addon_arguments(env, info, 2, argv) ||
	    !get_string(env, argv[0], request.netns, sizeof(request.netns)) ||
	    !get_string(env, argv[1], request.device, sizeof(request.device)))
		return NULL;
	if (!request.device[0])
		return addon_fail(env, "expected a name");
	run(&request);
	return result_of(env, &request);
}

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */)
{
	static const struct addon_method functions[] = {
		{"openSocket", open_socket_call},
		{"interfaceIndex", interface_index_call},
	};

	if (!addon_define(env, exports, functions, sizeof(functions) / sizeof(functions[0])) ||
	    !datagram_functions(env, exports) || !stream_functions(env, exports)) {
		return addon_fail(env, "cannot define the addon's functions");
	}
	return exports;
}
