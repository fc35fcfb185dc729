// SPDX-License-Identifier: Apache-2.0
/*
 * One batch of a map, read by a thread of libuv's pool: the kernel goes through all buckets of a hash map,
 * also the empty ones, which takes milliseconds for a big one. The thread reads into memory of its own, and
 * has a descriptor of its own: the handle may be closed meanwhile, and the environment end.
 */
#include "addon.h"

#include <fcntl.h>

struct walk_work {
	int map;
	uint32_t key_bytes, value_bytes;
	/* Entries wanted, then entries done. */
	uint32_t count;
	bool first;
	char *cursor, *next, *keys, *values;
	size_t cursor_bytes;
	napi_async_work work;
	napi_deferred deferred;
	int result;
};

/* On a thread of the pool. */
static void execute_walk(napi_env env, void *data)
{
	struct walk_work *work = data;

	work->result = bpf_map_lookup_batch(work->map, work->first ? NULL : work->cursor, work->next,
					    work->keys, work->values, &work->count, NULL);
	/* The kernel leaves the count alone when it refuses before the first entry. */
	if (work->result && work->result != -ENOENT)
		work->count = 0;
}

static void free_walk(struct walk_work *work)
{
	if (work->map >= 0)
		close(work->map);
	free(work->cursor);
	free(work->next);
	free(work->keys);
	free(work->values);
	free(work);
}

static napi_value make_result(napi_env env, struct walk_work *work)
{
	napi_value result, parts[4] = {
				   make_i64(env, work->result),
				   make_buffer(env, work->next, work->cursor_bytes),
				   make_buffer(env, work->keys, (size_t)work->count * work->key_bytes),
				   make_buffer(env, work->values, (size_t)work->count * work->value_bytes),
			   };

	NAPI_OK(env, napi_create_array_with_length(env, 4, &result));
	for (uint32_t i = 0; i < 4; i++) {
		if (!parts[i])
			return NULL;
		NAPI_OK(env, napi_set_element(env, result, i, parts[i]));
	}
	return result;
}

/* On the environment's thread. */
static void complete_walk(napi_env env, napi_status status, void *data)
{
	struct walk_work *work = data;
	napi_value result;

	if (status != napi_ok) {
		work->result = -ECANCELED;
		work->count = 0;
	}
	result = make_result(env, work);
	if (result)
		napi_resolve_deferred(env, work->deferred, result);
	napi_delete_async_work(env, work->work);
	free_walk(work);
}

static struct walk_work *make_work(struct fd_handle *map, struct bytes cursor, uint32_t count)
{
	struct walk_work *work = calloc(1, sizeof(*work));

	if (!work)
		return NULL;
	*work = (struct walk_work){
		.map = fcntl(map->fd, F_DUPFD_CLOEXEC, 0),
		.key_bytes = map->key_bytes,
		.value_bytes = map->value_bytes,
		.count = count,
		.first = !cursor.data,
		/* The kernel's cursor is a u32 in hash maps and a key elsewhere. */
		.cursor_bytes = map->key_bytes > sizeof(uint32_t) ? map->key_bytes : sizeof(uint32_t),
	};
	work->cursor = calloc(1, work->cursor_bytes);
	work->next = calloc(1, work->cursor_bytes);
	work->keys = calloc(count, work->key_bytes);
	work->values = calloc(count, work->value_bytes);
	if (work->map < 0 || !work->cursor || !work->next || !work->keys || !work->values) {
		free_walk(work);
		return NULL;
	}
	if (cursor.data)
		memcpy(work->cursor, cursor.data, work->cursor_bytes);
	return work;
}

static bool queue_walk(napi_env env, struct walk_work *work, napi_value *promise)
{
	napi_value name;

	return napi_create_string_utf8(env, "ciliate:walk", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	       napi_create_async_work(env, NULL, name, execute_walk, complete_walk, work, &work->work) ==
		       napi_ok &&
	       napi_create_promise(env, &work->deferred, promise) == napi_ok &&
	       napi_queue_async_work(env, work->work) == napi_ok;
}

/*
 * mapLookupBatchAsync(map, cursor?, entries): promise of [0 | -errno, next cursor, keys, values]. -ENOENT
 * means that the end was reached; the entries are valid all the same.
 */
static napi_value map_lookup_batch_async(napi_env env, napi_callback_info info)
{
	struct walk_work *work;
	napi_value argv[MAX_ARGS], promise;
	struct fd_handle *map;
	struct bytes cursor;
	uint32_t count;

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_optional_bytes(env, argv[1], &cursor) || !get_u32(env, argv[2], &count))
		return NULL;
	if (cursor.data &&
	    cursor.length < (map->key_bytes > sizeof(uint32_t) ? map->key_bytes : sizeof(uint32_t))) {
		throw_type(env, "a cursor is too short");
		return NULL;
	}
	work = make_work(map, cursor, count);
	if (!work) {
		napi_throw_error(env, "ENOMEM", "no memory or descriptor to read a batch");
		return NULL;
	}
	if (!queue_walk(env, work, &promise)) {
		throw_last(env);
		if (work->work)
			napi_delete_async_work(env, work->work);
		free_walk(work);
		return NULL;
	}
	return promise;
}

const struct method walk_methods[] = {{"mapLookupBatchAsync", map_lookup_batch_async}, {}};
