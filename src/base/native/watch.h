/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handle with a descriptor on the event loop, and the function of JavaScript that is told of it.
 *
 * 1. The addon takes zeroed memory of malloc whose first member is the watch, opens what it needs, and calls
 *    addon_watch_external().
 * 2. The watch ends by addon_watch_close(), by the external's collection, or with the environment, whichever
 *    is first; `end` then closes what is the handle's, once.
 * 3. The memory is freed when libuv and the external both have let go of it.
 *
 * Everything runs on the JavaScript thread.
 */
#ifndef CILIATE_NATIVE_WATCH_H
#define CILIATE_NATIVE_WATCH_H

#include "addon.h"

#include <uv.h>

struct addon_watch {
	struct addon_callback callback;
	napi_async_cleanup_hook_handle hook;
	uv_poll_t poll; /* its `data` is the handle */
	void (*end)(void *handle);
	bool poll_open; /* uv_close of the poll handle still has to run */
	bool closing;
	bool collected; /* the external is gone: free when the poll handle is */
};

/* NULL with an exception when it cannot be made: the watch has ended and is not the caller's any more. */
napi_value addon_watch_external(napi_env env, struct addon_watch *watch, const napi_type_tag *tag);

/* Makes the poll handle, not yet started: 0 or a negative errno. */
int addon_watch_open(napi_env env, struct addon_watch *watch, int fd);

/* May be called twice. */
void addon_watch_close(struct addon_watch *watch);

#endif
