/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the TCP streams share. */
#ifndef CILIATE_SOCKETS_STREAM_H
#define CILIATE_SOCKETS_STREAM_H

#include "../native/watch.h"

#include <sys/types.h>

/* What a stream is watched for and what it is told of; mirrored in tcp-stream.ts. */
enum event {
	EVENT_READABLE = 1,
	EVENT_WRITABLE = 2,
	/* A reset or another error: reading tells which. The stream is not watched any more. */
	EVENT_ERROR = 4
};

struct stream {
	struct addon_watch watch;
	int fd; /* -1: not the stream's */
};

/* stream_addon.c: adds its functions to the addon's exports; false with an exception when it cannot. */
bool stream_functions(napi_env env, napi_value exports);

/* Reads `count` arguments, the first of them a stream. Throws and returns NULL when they do not fit or it is
 * closed. */
struct stream *stream_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv);

/* What a system call returned, or the negative errno that it left. */
napi_value stream_result(napi_env env, ssize_t result);

/* stream_peers.c */
napi_value stream_connect_call(napi_env env, napi_callback_info info);
napi_value stream_accept_call(napi_env env, napi_callback_info info);

/* stream_times.c */
napi_value stream_stamp_call(napi_env env, napi_callback_info info);
napi_value stream_read_stamped_call(napi_env env, napi_callback_info info);
napi_value stream_round_trip_call(napi_env env, napi_callback_info info);

#endif
