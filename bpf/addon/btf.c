// SPDX-License-Identifier: Apache-2.0
/* Raw BTF, from the kernel or from an object file; TypeScript reads it (btf.ts). */
#include "addon.h"

#include <linux/bpf.h>

/* btfById(id): Buffer | -errno */
static napi_value btf_by_id(napi_env env, napi_callback_info cb)
{
	struct bpf_btf_info info = {};
	uint32_t id, length = sizeof(info);
	napi_value argv[MAX_ARGS], result;
	void *raw = NULL;
	int fd, err;

	if (!get_args(env, cb, 1, argv) || !get_u32(env, argv[0], &id))
		return NULL;
	fd = bpf_btf_get_fd_by_id(id);
	if (fd < 0)
		return make_i64(env, fd);
	err = bpf_obj_get_info_by_fd(fd, &info, &length);
	if (!err) {
		uint32_t size = info.btf_size;

		raw = malloc(size);
		info = (struct bpf_btf_info){.btf = (uintptr_t)raw, .btf_size = size};
		length = sizeof(info);
		err = raw ? bpf_obj_get_info_by_fd(fd, &info, &length) : -ENOMEM;
	}
	close(fd);
	result = err ? make_i64(env, err) : make_buffer(env, raw, info.btf_size);
	free(raw);
	return result;
}

/* btfOfFile(path): Buffer | -errno */
static napi_value btf_of_file(napi_env env, napi_callback_info cb)
{
	napi_value argv[MAX_ARGS], result;
	uint32_t size = 0;
	struct btf *btf;
	const void *raw;
	char path[4096];

	if (!get_args(env, cb, 1, argv) || !get_string(env, argv[0], path, sizeof(path)))
		return NULL;
	log_clear();
	btf = btf__parse(path, NULL);
	if (!btf)
		return make_i64(env, -errno);
	raw = btf__raw_data(btf, &size);
	result = raw ? make_buffer(env, raw, size) : make_i64(env, -ENOMEM);
	btf__free(btf);
	return result;
}

const struct method btf_methods[] = {{"btfById", btf_by_id}, {"btfOfFile", btf_of_file}, {}};
