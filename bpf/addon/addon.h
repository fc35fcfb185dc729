/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the libbpf addon share. Conventions of the boundary:
 *
 * - Every function here runs on the thread of the JavaScript environment that called it; nothing is shared
 *   between environments but libbpf itself, whose log goes to a buffer of the calling thread.
 * - A failed system call is a value: the function returns -errno as a number. Arguments of a wrong type, a
 *   buffer of a wrong size and a closed handle throw; they are mistakes of the facade (index.ts).
 * - A handle is an external value with a type tag. Its finalizer closes it, also at the environment's exit.
 *   close() may come first and any number of times.
 * - Buffers handed in are read or written during the call only. Buffers handed out belong to JavaScript.
 */
#ifndef CILIATE_BPF_ADDON_H
#define CILIATE_BPF_ADDON_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGS 8

/* Descriptor of a map, program or link. `fd` is -1 once closed. */
struct fd_handle {
	int fd;
	/* Maps: bytes of a key, and of a value as the kernel copies it (all CPUs of a per-CPU map). */
	uint32_t key_bytes;
	uint32_t value_bytes;
};

struct bytes {
	void *data;
	size_t length;
};

/* Throws and returns from the calling function when a Node-API call fails. */
#define NAPI_OK(env, call)                                                                                   \
	do {                                                                                                 \
		if ((call) != napi_ok) {                                                                     \
			throw_last(env);                                                                     \
			return NULL;                                                                         \
		}                                                                                            \
	} while (0)

void throw_last(napi_env env);
bool throw_type(napi_env env, const char *message);

/* Arguments. Each returns false with an exception pending. */
bool get_args(napi_env env, napi_callback_info info, size_t want, napi_value *argv);
bool get_u32(napi_env env, napi_value value, uint32_t *out);
bool get_bytes(napi_env env, napi_value value, struct bytes *out);
/* undefined gives {NULL, 0}. */
bool get_optional_bytes(napi_env env, napi_value value, struct bytes *out);
/* A string shorter than `size` bytes, zero-terminated, without a NUL inside. */
bool get_string(napi_env env, napi_value value, char *out, size_t size);

napi_value make_i64(napi_env env, int64_t value);
napi_value make_undefined(napi_env env);
/* A Buffer with a copy of `data`. */
napi_value make_buffer(napi_env env, const void *data, size_t length);
/* Array of numbers. */
napi_value make_numbers(napi_env env, const int64_t *values, size_t count);

/* handle.c */
napi_value make_fd_handle(napi_env env, int fd);
napi_value make_map_handle(napi_env env, int fd);
bool get_fd_handle(napi_env env, napi_value value, struct fd_handle **out);
/* Tags and wraps `data`; `finalize` frees it. On failure it has been freed and an exception is pending. */
napi_value make_tagged(napi_env env, void *data, const napi_type_tag *tag, napi_finalize finalize);
bool get_tagged(napi_env env, napi_value value, const napi_type_tag *tag, void **out);

/* log.c: what libbpf said on this thread since log_clear(); freed when the environment ends. */
napi_status log_install(napi_env env);
void log_clear(void);

/* One table a file, joined in module.c. */
struct method {
	const char *name;
	napi_callback callback;
};
extern const struct method handle_methods[], object_methods[], map_methods[], program_methods[],
	link_methods[], ringbuf_methods[], btf_methods[], system_methods[], walk_methods[], log_methods[];

#endif
