// SPDX-License-Identifier: Apache-2.0
/* The kernel's objects as a whole: pins, ids, the BPF file system. */
#include "addon.h"

#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

enum kind { KIND_MAP, KIND_PROGRAM, KIND_LINK };

/* What a descriptor is, by the name of its file; bpf_obj_get opens whatever is pinned there. */
static bool is_kind(int fd, uint32_t kind)
{
	const char *names[] = {"anon_inode:bpf-map", "anon_inode:bpf-prog", "anon_inode:bpf_link"};
	char link[64], target[64] = {};

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	/* Link files are named bpf_link, or bpf-link from Linux 6.9 on (bpf_link_poll when they can be
	 * polled). */
	if (readlink(link, target, sizeof(target) - 1) < 0)
		return false;
	if (kind == KIND_LINK)
		return strncmp(target, "anon_inode:bpf", 14) == 0 && strstr(target, "link") != NULL;
	return strcmp(target, names[kind]) == 0;
}

/* openPinned(path, kind 0 map | 1 program | 2 link): handle | -errno; -EBADF when something else is pinned
 * there */
static napi_value open_pinned(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	char path[4096];
	uint32_t kind;
	int fd;

	if (!get_args(env, info, 2, argv) || !get_string(env, argv[0], path, sizeof(path)) ||
	    !get_u32(env, argv[1], &kind))
		return NULL;
	if (kind > KIND_LINK) {
		throw_type(env, "unknown kind of object");
		return NULL;
	}
	fd = bpf_obj_get(path);
	if (fd >= 0 && !is_kind(fd, kind)) {
		close(fd);
		fd = -EBADF;
	}
	return kind == KIND_MAP ? make_map_handle(env, fd) : make_fd_handle(env, fd);
}

/* openById(kind, id): handle | -errno */
static napi_value open_by_id(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	uint32_t kind, id;

	if (!get_args(env, info, 2, argv) || !get_u32(env, argv[0], &kind) || !get_u32(env, argv[1], &id))
		return NULL;
	switch (kind) {
	case KIND_MAP:
		return make_map_handle(env, bpf_map_get_fd_by_id(id));
	case KIND_PROGRAM:
		return make_fd_handle(env, bpf_prog_get_fd_by_id(id));
	case KIND_LINK:
		return make_fd_handle(env, bpf_link_get_fd_by_id(id));
	}
	throw_type(env, "unknown kind of object");
	return NULL;
}

/* nextId(kind, after): id | -errno; -ENOENT at the end */
static napi_value next_id(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	uint32_t kind, after, next = 0;
	int err;

	if (!get_args(env, info, 2, argv) || !get_u32(env, argv[0], &kind) || !get_u32(env, argv[1], &after))
		return NULL;
	if (kind == KIND_MAP)
		err = bpf_map_get_next_id(after, &next);
	else if (kind == KIND_PROGRAM)
		err = bpf_prog_get_next_id(after, &next);
	else
		err = bpf_link_get_next_id(after, &next);
	return make_i64(env, err ? err : (int64_t)next);
}

/* possibleCpus(): count | -errno */
static napi_value possible_cpus(napi_env env, napi_callback_info info)
{
	return make_i64(env, libbpf_num_possible_cpus());
}

/* isBpffs(path): 0 | 1 | -errno */
static napi_value is_bpffs(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	struct statfs fs;
	char path[4096];

	if (!get_args(env, info, 1, argv) || !get_string(env, argv[0], path, sizeof(path)))
		return NULL;
	if (statfs(path, &fs))
		return make_i64(env, -errno);
	return make_i64(env, fs.f_type == BPF_FS_MAGIC);
}

/* mountBpffs(path): 0 | -errno; readable by root alone */
static napi_value mount_bpffs(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	char path[4096];

	if (!get_args(env, info, 1, argv) || !get_string(env, argv[0], path, sizeof(path)))
		return NULL;
	return make_i64(env, mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") ? -errno
												      : 0);
}

/* unmount(path): 0 | -errno */
static napi_value unmount(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	char path[4096];

	if (!get_args(env, info, 1, argv) || !get_string(env, argv[0], path, sizeof(path)))
		return NULL;
	return make_i64(env, umount2(path, UMOUNT_NOFOLLOW) ? -errno : 0);
}

const struct method system_methods[] = {{"openPinned", open_pinned}, {"openById", open_by_id},
					{"nextId", next_id},	     {"possibleCpus", possible_cpus},
					{"isBpffs", is_bpffs},	     {"mountBpffs", mount_bpffs},
					{"unmount", unmount},	     {}};
