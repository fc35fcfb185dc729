// SPDX-License-Identifier: Apache-2.0
/* Maps. Every buffer's length is compared with the map's sizes before the kernel sees it. */
#include "addon.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/mman.h>

static bool get_sized(napi_env env, napi_value value, size_t want, struct bytes *out)
{
	if (!get_bytes(env, value, out))
		return false;
	return out->length == want || throw_type(env, "a buffer has not the size that the map wants");
}

/* mapCreate(type, name, keyBytes, valueBytes, maxEntries, flags, innerMap?, btf?): handle | -errno;
 * btf: three u32 of the machine's order, the id of a BTF object and its types of key and value */
static napi_value map_create(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	uint32_t type, key, value, entries, flags;
	struct fd_handle *inner;
	napi_value argv[MAX_ARGS];
	napi_value handle;
	napi_valuetype kind;
	struct bytes types;
	uint32_t btf[3];
	int btf_fd = -1;
	char name[64];

	if (!get_args(env, info, 6, argv) || !get_u32(env, argv[0], &type) ||
	    !get_string(env, argv[1], name, sizeof(name)) || !get_u32(env, argv[2], &key) ||
	    !get_u32(env, argv[3], &value) || !get_u32(env, argv[4], &entries) ||
	    !get_u32(env, argv[5], &flags))
		return NULL;
	opts.map_flags = flags;
	NAPI_OK(env, napi_typeof(env, argv[6], &kind));
	if (kind != napi_undefined) {
		if (!get_fd_handle(env, argv[6], &inner))
			return NULL;
		opts.inner_map_fd = inner->fd;
	}
	if (!get_optional_bytes(env, argv[7], &types))
		return NULL;
	if (types.data) {
		if (types.length != sizeof(btf))
			goto wrong_types;
		memcpy(btf, types.data, sizeof(btf));
		btf_fd = bpf_btf_get_fd_by_id(btf[0]);
		if (btf_fd < 0)
			return make_i64(env, btf_fd);
		opts.btf_fd = btf_fd;
		opts.btf_key_type_id = btf[1];
		opts.btf_value_type_id = btf[2];
	}
	handle = make_map_handle(env, bpf_map_create(type, name, key, value, entries, &opts));
	if (btf_fd >= 0)
		close(btf_fd);
	return handle;

wrong_types:
	throw_type(env, "expected three types");
	return NULL;
}

/* mapInfo(map): [id, type, keyBytes, valueBytes, maxEntries, flags, btfId, btfKey, btfValue, valueStride] |
 * -errno */
static napi_value map_info(napi_env env, napi_callback_info cb)
{
	struct bpf_map_info info = {};
	uint32_t length = sizeof(info);
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	int err;

	if (!get_args(env, cb, 1, argv) || !get_fd_handle(env, argv[0], &map))
		return NULL;
	err = bpf_obj_get_info_by_fd(map->fd, &info, &length);
	if (err)
		return make_i64(env, err);
	int64_t numbers[] = {
		info.id,	info.type,   info.key_size,	   info.value_size,	   info.max_entries,
		info.map_flags, info.btf_id, info.btf_key_type_id, info.btf_value_type_id, map->value_bytes};
	return make_numbers(env, numbers, 10);
}

/* mapName(map): string | -errno */
static napi_value map_name(napi_env env, napi_callback_info cb)
{
	struct bpf_map_info info = {};
	uint32_t length = sizeof(info);
	struct fd_handle *map;
	napi_value argv[MAX_ARGS], name;
	int err;

	if (!get_args(env, cb, 1, argv) || !get_fd_handle(env, argv[0], &map))
		return NULL;
	err = bpf_obj_get_info_by_fd(map->fd, &info, &length);
	if (err)
		return make_i64(env, err);
	NAPI_OK(env, napi_create_string_utf8(env, info.name, strnlen(info.name, sizeof(info.name)), &name));
	return name;
}

/* mapLookup(map, key, value): 0 | -errno; fills `value` */
static napi_value map_lookup(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	struct bytes key, value;

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_sized(env, argv[1], map->key_bytes, &key) ||
	    !get_sized(env, argv[2], map->value_bytes, &value))
		return NULL;
	return make_i64(env, bpf_map_lookup_elem(map->fd, key.data, value.data));
}

/* mapUpdate(map, key, value, flags): 0 | -errno */
static napi_value map_update(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	struct bytes key, value;
	uint32_t flags;

	if (!get_args(env, info, 4, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_sized(env, argv[1], map->key_bytes, &key) ||
	    !get_sized(env, argv[2], map->value_bytes, &value) || !get_u32(env, argv[3], &flags))
		return NULL;
	return make_i64(env, bpf_map_update_elem(map->fd, key.data, value.data, flags));
}

/* mapUpdateFd(map, key, handle): 0 | -errno; stores an inner map or a program. The kernel takes its own
 * reference. */
static napi_value map_update_fd(napi_env env, napi_callback_info info)
{
	struct fd_handle *map, *stored;
	napi_value argv[MAX_ARGS];
	struct bytes key;

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_sized(env, argv[1], map->key_bytes, &key) || !get_fd_handle(env, argv[2], &stored))
		return NULL;
	if (map->value_bytes != sizeof(stored->fd)) {
		throw_type(env, "the map does not hold descriptors");
		return NULL;
	}
	return make_i64(env, bpf_map_update_elem(map->fd, key.data, &stored->fd, BPF_ANY));
}

/* One descriptor stored by a thread of libuv's pool: the kernel waits for RCU, about 12 ms. */
struct store_work {
	/* Descriptors of our own: the handles may be closed meanwhile. */
	int map, stored;
	uint8_t key[sizeof(uint64_t)];
	napi_async_work work;
	napi_deferred deferred;
	int result;
};

/* On a thread of the pool. */
static void execute_store(napi_env env, void *data)
{
	struct store_work *work = data;

	work->result = bpf_map_update_elem(work->map, work->key, &work->stored, BPF_ANY);
}

static void free_store(struct store_work *work)
{
	if (work->map >= 0)
		close(work->map);
	if (work->stored >= 0)
		close(work->stored);
	free(work);
}

/* On the environment's thread. */
static void complete_store(napi_env env, napi_status status, void *data)
{
	struct store_work *work = data;
	napi_value result = make_i64(env, status == napi_ok ? work->result : -ECANCELED);

	if (result)
		napi_resolve_deferred(env, work->deferred, result);
	napi_delete_async_work(env, work->work);
	free_store(work);
}

static bool queue_store(napi_env env, struct store_work *work, napi_value *promise)
{
	napi_value name;

	return napi_create_string_utf8(env, "ciliate:map", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	       napi_create_async_work(env, NULL, name, execute_store, complete_store, work, &work->work) ==
		       napi_ok &&
	       napi_create_promise(env, &work->deferred, promise) == napi_ok &&
	       napi_queue_async_work(env, work->work) == napi_ok;
}

/* mapUpdateFdAsync(map, key, handle): promise of 0 | -errno; keys of up to 8 bytes */
static napi_value map_update_fd_async(napi_env env, napi_callback_info info)
{
	struct fd_handle *map, *stored;
	napi_value argv[MAX_ARGS], promise;
	struct store_work *work;
	struct bytes key;

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_sized(env, argv[1], map->key_bytes, &key) || !get_fd_handle(env, argv[2], &stored))
		return NULL;
	if (map->value_bytes != sizeof(stored->fd) || key.length > sizeof(work->key)) {
		throw_type(env, "the map does not hold descriptors under small keys");
		return NULL;
	}
	work = calloc(1, sizeof(*work));
	if (!work) {
		napi_throw_error(env, "ENOMEM", "no memory to store a descriptor");
		return NULL;
	}
	memcpy(work->key, key.data, key.length);
	work->map = fcntl(map->fd, F_DUPFD_CLOEXEC, 0);
	work->stored = fcntl(stored->fd, F_DUPFD_CLOEXEC, 0);
	if (work->map < 0 || work->stored < 0) {
		napi_throw_error(env, "EMFILE", "no descriptor to store one");
		free_store(work);
		return NULL;
	}
	if (!queue_store(env, work, &promise)) {
		throw_last(env);
		if (work->work)
			napi_delete_async_work(env, work->work);
		free_store(work);
		return NULL;
	}
	return promise;
}

/* mapDelete(map, key): 0 | -errno */
static napi_value map_delete(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	struct bytes key;

	if (!get_args(env, info, 2, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_sized(env, argv[1], map->key_bytes, &key))
		return NULL;
	return make_i64(env, bpf_map_delete_elem(map->fd, key.data));
}

/* mapNextKey(map, key?, next): 0 | -errno; fills `next` */
static napi_value map_next_key(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	struct bytes key, next;

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_optional_bytes(env, argv[1], &key) || !get_sized(env, argv[2], map->key_bytes, &next))
		return NULL;
	if (key.data && key.length != map->key_bytes) {
		throw_type(env, "a buffer has not the size that the map wants");
		return NULL;
	}
	return make_i64(env, bpf_map_get_next_key(map->fd, key.data, next.data));
}

/* mapFreeze(map): 0 | -errno */
static napi_value map_freeze(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, info, 1, argv) || !get_fd_handle(env, argv[0], &map))
		return NULL;
	return make_i64(env, bpf_map_freeze(map->fd));
}

/* `count` is a Buffer of 4 bytes, native order: entries wanted, then entries done. */
static bool get_count(napi_env env, napi_value value, uint32_t **out)
{
	struct bytes bytes;

	if (!get_sized(env, value, sizeof(**out), &bytes))
		return false;
	*out = bytes.data;
	return true;
}

static bool holds(napi_env env, struct bytes bytes, uint32_t count, uint32_t each)
{
	return bytes.length >= (uint64_t)count * each ||
	       throw_type(env, "a batch buffer is too short for its count");
}

/*
 * mapLookupBatch(map, cursorIn?, cursorOut, keys, values, count): 0 | -errno.
 * -ENOENT means that the end was reached; `count` entries are valid all the same. The kernel's cursor is a
 * u32 in hash maps and a key elsewhere, so cursors hold the larger of both.
 */
static napi_value map_lookup_batch(napi_env env, napi_callback_info info)
{
	struct bytes in, out, keys, values;
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	uint32_t *count, wanted;
	size_t cursor;
	int err;

	if (!get_args(env, info, 6, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_optional_bytes(env, argv[1], &in) || !get_bytes(env, argv[2], &out) ||
	    !get_bytes(env, argv[3], &keys) || !get_bytes(env, argv[4], &values) ||
	    !get_count(env, argv[5], &count))
		return NULL;
	cursor = map->key_bytes > sizeof(uint32_t) ? map->key_bytes : sizeof(uint32_t);
	if ((in.data && in.length < cursor) || out.length < cursor) {
		throw_type(env, "a cursor is too short");
		return NULL;
	}
	wanted = *count;
	if (!holds(env, keys, wanted, map->key_bytes) || !holds(env, values, wanted, map->value_bytes))
		return NULL;
	err = bpf_map_lookup_batch(map->fd, in.data, out.data, keys.data, values.data, count, NULL);
	/* The kernel leaves the count alone when it refuses before the first entry. */
	if (err && err != -ENOENT)
		*count = 0;
	return make_i64(env, err);
}

/* mapUpdateBatch(map, keys, values, count): 0 | -errno; `count` becomes the number written */
static napi_value map_update_batch(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	struct bytes keys, values;
	uint32_t *count, wanted;
	int err;

	if (!get_args(env, info, 4, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_bytes(env, argv[1], &keys) || !get_bytes(env, argv[2], &values) ||
	    !get_count(env, argv[3], &count))
		return NULL;
	wanted = *count;
	if (!holds(env, keys, wanted, map->key_bytes) || !holds(env, values, wanted, map->value_bytes))
		return NULL;
	err = bpf_map_update_batch(map->fd, keys.data, values.data, count, NULL);
	if (err && *count == wanted)
		*count = 0;
	return make_i64(env, err);
}

/* mapDeleteBatch(map, keys, count): 0 | -errno; stops at a key that is not there; `count` becomes the number
 * deleted */
static napi_value map_delete_batch(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	uint32_t *count, wanted;
	struct bytes keys;
	int err;

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &map) ||
	    !get_bytes(env, argv[1], &keys) || !get_count(env, argv[2], &count))
		return NULL;
	wanted = *count;
	if (!holds(env, keys, wanted, map->key_bytes))
		return NULL;
	err = bpf_map_delete_batch(map->fd, keys.data, count, NULL);
	if (err && *count == wanted)
		*count = 0;
	return make_i64(env, err);
}

static void unmap_values(napi_env env, void *data, void *hint)
{
	munmap(data, (size_t)(uintptr_t)hint);
}

/*
 * mapMemory(map): ArrayBuffer | -errno; the values of an array map with BPF_F_MMAPABLE, each at a multiple of
 * 8 bytes. It is the kernel's memory, for reading only: a write would be a fault. It outlives the handle, and
 * is unmapped when it is collected or the environment ends.
 */
static napi_value map_memory(napi_env env, napi_callback_info cb)
{
	struct bpf_map_info info = {};
	uint32_t length = sizeof(info);
	struct fd_handle *map;
	napi_value argv[MAX_ARGS], memory;
	size_t bytes;
	void *values;
	int err;

	if (!get_args(env, cb, 1, argv) || !get_fd_handle(env, argv[0], &map))
		return NULL;
	err = bpf_obj_get_info_by_fd(map->fd, &info, &length);
	if (err)
		return make_i64(env, err);
	bytes = (size_t)info.max_entries * ((info.value_size + 7) / 8 * 8);
	values = mmap(NULL, bytes, PROT_READ, MAP_SHARED, map->fd, 0);
	if (values == MAP_FAILED)
		return make_i64(env, -errno);
	if (napi_create_external_arraybuffer(env, values, bytes, unmap_values, (void *)(uintptr_t)bytes,
					     &memory) != napi_ok) {
		munmap(values, bytes);
		throw_last(env);
		return NULL;
	}
	return memory;
}

const struct method map_methods[] = {{"mapCreate", map_create},
				     {"mapInfo", map_info},
				     {"mapName", map_name},
				     {"mapLookup", map_lookup},
				     {"mapUpdate", map_update},
				     {"mapUpdateFd", map_update_fd},
				     {"mapUpdateFdAsync", map_update_fd_async},
				     {"mapDelete", map_delete},
				     {"mapNextKey", map_next_key},
				     {"mapFreeze", map_freeze},
				     {"mapMemory", map_memory},
				     {"mapLookupBatch", map_lookup_batch},
				     {"mapUpdateBatch", map_update_batch},
				     {"mapDeleteBatch", map_delete_batch},
				     {}};
