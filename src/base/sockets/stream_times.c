// SPDX-License-Identifier: Apache-2.0
/* What the kernel knows of a stream's times: when bytes came, and how long a round trip takes. */
#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define NS_PER_S 1000000000ll

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
napi_value stream_stamp_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = stream_arguments(env, info, 1, &argument);
	int on = 1;

	if (!stream)
		return NULL;
	return stream_result(env, setsockopt(stream->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)));
}

/* streamReadStamped(stream, bytes, 8 bytes): as streamRead; the time of its last byte, see received_ns */
napi_value stream_read_stamped_call(napi_env env, napi_callback_info info)
{
	char control[CMSG_SPACE(sizeof(struct timespec)) * 4];
	napi_value argv[3];
	struct stream *stream = stream_arguments(env, info, 3, argv);
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
	return stream_result(env, result);
}

/*
 * streamRoundTrip(stream): the kernel's estimate, us; 0: none, or a segment was sent twice | -errno. Between
 * the handshake and the first byte sent it is the time from SYN to SYN-ACK.
 */
napi_value stream_round_trip_call(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct stream *stream = stream_arguments(env, info, 1, &argument);
	struct tcp_info tcp = {};
	socklen_t length = sizeof(tcp);

	if (!stream)
		return NULL;
	if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &tcp, &length))
		return stream_result(env, -1);
	return addon_number(env, tcp.tcpi_total_retrans ? 0 : (double)tcp.tcpi_rtt);
}
