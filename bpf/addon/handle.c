// SPDX-License-Identifier: Apache-2.0
/* Handles of maps, programs and links: a descriptor that is closed once, by close() or by the finalizer. */
#include "addon.h"

#include <fcntl.h>
#include <linux/bpf.h>

static const napi_type_tag fd_tag = {0x6369696c62706601, 0x66645f68616e646c};

napi_value make_tagged(napi_env env, void *data, const napi_type_tag *tag, napi_finalize finalize)
{
	napi_value result;

	if (napi_create_external(env, data, finalize, NULL, &result) != napi_ok) {
		finalize(env, data, NULL);
		throw_last(env);
		return NULL;
	}
	NAPI_OK(env, napi_type_tag_object(env, result, tag));
	return result;
}

bool get_tagged(napi_env env, napi_value value, const napi_type_tag *tag, void **out)
{
	napi_valuetype type;
	bool matches = false;

	if (napi_typeof(env, value, &type) != napi_ok || type != napi_external ||
	    napi_check_object_type_tag(env, value, tag, &matches) != napi_ok || !matches ||
	    napi_get_value_external(env, value, out) != napi_ok)
		return throw_type(env, "expected a handle of this addon");
	return true;
}

static void finalize_fd(napi_env env, void *data, void *hint)
{
	struct fd_handle *handle = data;

	if (handle->fd >= 0)
		close(handle->fd);
	free(handle);
}

/* Takes `fd`; negative errno values pass through as numbers. */
napi_value make_fd_handle(napi_env env, int fd)
{
	struct fd_handle *handle;

	if (fd < 0)
		return make_i64(env, fd);
	handle = calloc(1, sizeof(*handle));
	if (!handle) {
		close(fd);
		return make_i64(env, -ENOMEM);
	}
	handle->fd = fd;
	return make_tagged(env, handle, &fd_tag, finalize_fd);
}

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

/* Like make_fd_handle, with the sizes that every copy from and to the kernel is checked against. */
napi_value make_map_handle(napi_env env, int fd)
{
	struct bpf_map_info info = {};
	uint32_t length = sizeof(info);
	struct fd_handle *handle;
	napi_value result;
	int err;

	if (fd < 0)
		return make_i64(env, fd);
	err = bpf_obj_get_info_by_fd(fd, &info, &length);
	if (err) {
		close(fd);
		return make_i64(env, err);
	}
	result = make_fd_handle(env, fd);
	if (!result || !get_fd_handle(env, result, &handle))
		return NULL;
	handle->key_bytes = info.key_size;
	handle->value_bytes = info.value_size;
	if (is_per_cpu(info.type))
		handle->value_bytes = (info.value_size + 7) / 8 * 8 * libbpf_num_possible_cpus();
	return result;
}

bool get_fd_handle(napi_env env, napi_value value, struct fd_handle **out)
{
	if (!get_tagged(env, value, &fd_tag, (void **)out))
		return false;
	if ((*out)->fd < 0) {
		napi_throw_error(env, "BPF_CLOSED", "the handle is closed");
		return false;
	}
	return true;
}

/* handleClose(handle): void */
static napi_value handle_close(napi_env env, napi_callback_info info)
{
	struct fd_handle *handle;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, info, 1, argv) || !get_tagged(env, argv[0], &fd_tag, (void **)&handle))
		return NULL;
	if (handle->fd >= 0)
		close(handle->fd);
	handle->fd = -1;
	return make_undefined(env);
}

/* handlePin(handle, path): 0 | -errno */
static napi_value handle_pin(napi_env env, napi_callback_info info)
{
	struct fd_handle *handle;
	napi_value argv[MAX_ARGS];
	char path[4096];

	if (!get_args(env, info, 2, argv) || !get_fd_handle(env, argv[0], &handle) ||
	    !get_string(env, argv[1], path, sizeof(path)))
		return NULL;
	return make_i64(env, bpf_obj_pin(handle->fd, path));
}

/* mapFromFd(descriptor): handle | -errno; the descriptor stays the caller's */
static napi_value map_from_fd(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	uint32_t fd;
	int own;

	if (!get_args(env, info, 1, argv) || !get_u32(env, argv[0], &fd))
		return NULL;
	own = fd > INT32_MAX ? -1 : fcntl((int)fd, F_DUPFD_CLOEXEC, 0);
	return make_map_handle(env, own < 0 ? -EBADF : own);
}

/* mapReadOnlyFd(map): descriptor | -errno; close-on-exec, the caller's to close */
static napi_value map_read_only_fd(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_get_fd_by_id_opts, opts, .open_flags = BPF_F_RDONLY);
	struct bpf_map_info description = {};
	uint32_t length = sizeof(description);
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	int err;

	if (!get_args(env, info, 1, argv) || !get_fd_handle(env, argv[0], &map))
		return NULL;
	err = bpf_obj_get_info_by_fd(map->fd, &description, &length);
	return make_i64(env, err ? err : bpf_map_get_fd_by_id_opts(description.id, &opts));
}

/* mapFd(map): descriptor | -errno; close-on-exec, the caller's to close */
static napi_value map_fd(napi_env env, napi_callback_info info)
{
	struct fd_handle *map;
	napi_value argv[MAX_ARGS];
	int fd;

	if (!get_args(env, info, 1, argv) || !get_fd_handle(env, argv[0], &map))
		return NULL;
	fd = fcntl(map->fd, F_DUPFD_CLOEXEC, 0);
	return make_i64(env, fd < 0 ? -errno : fd);
}

const struct method handle_methods[] = {
	{"handleClose", handle_close},	     {"handlePin", handle_pin}, {"mapFromFd", map_from_fd},
	{"mapReadOnlyFd", map_read_only_fd}, {"mapFd", map_fd},		{}};
