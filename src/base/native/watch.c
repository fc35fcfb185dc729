// SPDX-License-Identifier: Apache-2.0
#include "watch.h"

#include <errno.h>
#include <stdlib.h>

/* The second step of every end: the hook goes, and the memory when nobody needs it. */
static void free_if_done(struct addon_watch *watch)
{
	if (watch->poll_open)
		return;
	if (watch->closing && watch->hook) {
		napi_remove_async_cleanup_hook(watch->hook);
		watch->hook = NULL;
	}
	if (watch->collected)
		free(watch);
}

static void on_poll_closed(uv_handle_t *poll)
{
	struct addon_watch *watch = poll->data;

	watch->poll_open = false;
	free_if_done(watch);
}

void addon_watch_close(struct addon_watch *watch)
{
	if (watch->closing)
		return;
	watch->closing = true;
	addon_callback_drop(&watch->callback);
	if (watch->poll_open) {
		uv_poll_stop(&watch->poll);
		uv_close((uv_handle_t *)&watch->poll, on_poll_closed);
	}
	watch->end(watch);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data)
{
	addon_watch_close(data);
	free_if_done(data);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct addon_watch *watch = data;

	addon_watch_close(watch);
	watch->collected = true;
	free_if_done(watch);
}

napi_value addon_watch_external(napi_env env, struct addon_watch *watch, const napi_type_tag *tag)
{
	napi_value external;

	if (napi_create_external(env, watch, on_collected, NULL, &external) != napi_ok) {
		addon_fail_last(env);
		addon_watch_close(watch);
		free(watch);
		return NULL;
	}
	/* From here on the collection of the external frees what is half made. */
	if (napi_type_tag_object(env, external, tag) != napi_ok ||
	    napi_add_async_cleanup_hook(env, on_environment_end, watch, &watch->hook) != napi_ok) {
		addon_fail_last(env);
		addon_watch_close(watch);
		return NULL;
	}
	return external;
}

int addon_watch_open(napi_env env, struct addon_watch *watch, int fd)
{
	uv_loop_t *loop;
	int result;

	if (napi_get_uv_event_loop(env, &loop) != napi_ok)
		return -EINVAL;
	result = uv_poll_init(loop, &watch->poll, fd);
	if (result == 0) {
		watch->poll_open = true;
		watch->poll.data = watch;
	}
	return result;
}
