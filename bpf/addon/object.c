// SPDX-License-Identifier: Apache-2.0
/*
 * An object file: opened, adjusted, loaded. Maps and programs are addressed by their position in the file,
 * because libbpf renames a map that takes the place of a pinned one. Handles given out hold descriptors of
 * their own and outlive the object. The object is freed by objectClose() or by its finalizer.
 */
#include "addon.h"

#include <fcntl.h>
#include <malloc.h>

struct object_handle {
	struct bpf_object *object;
};

static const napi_type_tag object_tag = {0x6369696c62706602, 0x6f626a656374680a};

static void finalize_object(napi_env env, void *data, void *hint)
{
	struct object_handle *handle = data;

	bpf_object__close(handle->object);
	free(handle);
}

static bool get_object(napi_env env, napi_value value, struct bpf_object **out)
{
	struct object_handle *handle;

	if (!get_tagged(env, value, &object_tag, (void **)&handle))
		return false;
	if (!handle->object) {
		napi_throw_error(env, "BPF_CLOSED", "the object is closed");
		return false;
	}
	*out = handle->object;
	return true;
}

static struct bpf_map *map_at(struct bpf_object *object, uint32_t index)
{
	struct bpf_map *map = bpf_object__next_map(object, NULL);

	while (map && index--)
		map = bpf_object__next_map(object, map);
	return map;
}

static struct bpf_program *program_at(struct bpf_object *object, uint32_t index)
{
	struct bpf_program *program = bpf_object__next_program(object, NULL);

	while (program && index--)
		program = bpf_object__next_program(object, program);
	return program;
}

/* Reads (object, map index, ...). */
static bool get_object_map(napi_env env, napi_value *argv, struct bpf_map **out)
{
	struct bpf_object *object;
	uint32_t index;

	if (!get_object(env, argv[0], &object) || !get_u32(env, argv[1], &index))
		return false;
	*out = map_at(object, index);
	return *out || throw_type(env, "no map at this position");
}

/* objectOpen(path): handle | -errno; takeLog() says more */
static napi_value object_open(napi_env env, napi_callback_info info)
{
	struct object_handle *handle;
	napi_value argv[MAX_ARGS];
	char path[4096];
	int err;

	if (!get_args(env, info, 1, argv) || !get_string(env, argv[0], path, sizeof(path)))
		return NULL;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return make_i64(env, -ENOMEM);
	log_clear();
	handle->object = bpf_object__open_file(path, NULL);
	if (!handle->object) {
		err = -errno;
		free(handle);
		return make_i64(env, err);
	}
	return make_tagged(env, handle, &object_tag, finalize_object);
}

static bool push_name(napi_env env, napi_value array, uint32_t index, const char *name)
{
	napi_value text;

	return napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text) == napi_ok &&
	       napi_set_element(env, array, index, text) == napi_ok;
}

/* objectNames(object, 0 maps | 1 programs): string[] in the order of the file */
static napi_value object_names(napi_env env, napi_callback_info info)
{
	struct bpf_program *program;
	struct bpf_object *object;
	napi_value argv[MAX_ARGS], array;
	uint32_t kind, index = 0;
	struct bpf_map *map;
	bool ok = true;

	if (!get_args(env, info, 2, argv) || !get_object(env, argv[0], &object) ||
	    !get_u32(env, argv[1], &kind))
		return NULL;
	NAPI_OK(env, napi_create_array(env, &array));
	if (kind == 0) {
		bpf_object__for_each_map(map, object) ok =
			ok && push_name(env, array, index++, bpf_map__name(map));
	} else {
		bpf_object__for_each_program(program, object) ok =
			ok && push_name(env, array, index++, bpf_program__name(program));
	}
	if (!ok)
		throw_last(env);
	return ok ? array : NULL;
}

/* objectMapShape(object, map): [type, key bytes, value bytes, max entries, flags] */
static napi_value object_map_shape(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	struct bpf_map *map;

	if (!get_args(env, info, 2, argv) || !get_object_map(env, argv, &map))
		return NULL;
	int64_t shape[] = {bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map),
			   bpf_map__max_entries(map), bpf_map__map_flags(map)};
	return make_numbers(env, shape, 5);
}

/* Place of a variable in the initial image of its section, by the section's BTF. */
static const struct btf_var_secinfo *find_variable(const struct btf *btf, const char *section,
						   const char *name)
{
	int id = btf ? btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC) : -ENOENT;
	const struct btf_var_secinfo *variable;
	const struct btf_type *type;

	if (id < 0)
		return NULL;
	type = btf__type_by_id(btf, id);
	variable = btf_var_secinfos(type);
	for (int i = 0; i < btf_vlen(type); i++, variable++) {
		const struct btf_type *var = btf__type_by_id(btf, variable->type);

		if (strcmp(btf__name_by_offset(btf, var->name_off), name) == 0)
			return variable;
	}
	return NULL;
}

/*
 * objectSetRodata(object, name, bytes): 0 | -ENOENT | -EMSGSIZE (the variable has another size) | -EBUSY.
 * The image is libbpf's, freed with the object; it reaches the kernel at load.
 */
static napi_value object_set_rodata(napi_env env, napi_callback_info info)
{
	const struct btf_var_secinfo *variable;
	struct bpf_object *object;
	napi_value argv[MAX_ARGS];
	struct bytes value;
	struct bpf_map *map;
	char name[256];
	size_t size = 0;
	char *image;

	if (!get_args(env, info, 3, argv) || !get_object(env, argv[0], &object) ||
	    !get_string(env, argv[1], name, sizeof(name)) || !get_bytes(env, argv[2], &value))
		return NULL;
	map = bpf_object__find_map_by_name(object, ".rodata");
	variable = map ? find_variable(bpf_object__btf(object), ".rodata", name) : NULL;
	if (!variable)
		return make_i64(env, -ENOENT);
	if (variable->size != value.length)
		return make_i64(env, -EMSGSIZE);
	if (bpf_map__fd(map) >= 0)
		return make_i64(env, -EBUSY);
	image = (char *)bpf_map__initial_value(map, &size);
	if (!image || (size_t)variable->offset + variable->size > size)
		return make_i64(env, -EINVAL);
	memcpy(image + variable->offset, value.data, value.length);
	return make_i64(env, 0);
}

/* objectSetMaxEntries(object, map, entries): 0 | -errno */
static napi_value object_set_max_entries(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	struct bpf_map *map;
	uint32_t entries;

	if (!get_args(env, info, 3, argv) || !get_object_map(env, argv, &map) ||
	    !get_u32(env, argv[2], &entries))
		return NULL;
	return make_i64(env, bpf_map__set_max_entries(map, entries));
}

/* objectReuseMap(object, map, handle): 0 | -errno; the object takes a descriptor of its own */
static napi_value object_reuse_map(napi_env env, napi_callback_info info)
{
	struct fd_handle *handle;
	napi_value argv[MAX_ARGS];
	struct bpf_map *map;

	if (!get_args(env, info, 3, argv) || !get_object_map(env, argv, &map) ||
	    !get_fd_handle(env, argv[2], &handle))
		return NULL;
	return make_i64(env, bpf_map__reuse_fd(map, handle->fd));
}

/* objectSetInner(object, map, handle): 0 | -errno; the facade keeps the handle open until load */
static napi_value object_set_inner(napi_env env, napi_callback_info info)
{
	struct fd_handle *handle;
	napi_value argv[MAX_ARGS];
	struct bpf_map *map;

	if (!get_args(env, info, 3, argv) || !get_object_map(env, argv, &map) ||
	    !get_fd_handle(env, argv[2], &handle))
		return NULL;
	return make_i64(env, bpf_map__set_inner_map_fd(map, handle->fd));
}

/* objectSetAutoload(object, program, 0 | 1): 0 | -errno */
static napi_value object_set_autoload(napi_env env, napi_callback_info info)
{
	struct bpf_program *program;
	struct bpf_object *object;
	napi_value argv[MAX_ARGS];
	uint32_t index, on;

	if (!get_args(env, info, 3, argv) || !get_object(env, argv[0], &object) ||
	    !get_u32(env, argv[1], &index) || !get_u32(env, argv[2], &on))
		return NULL;
	program = program_at(object, index);
	if (!program) {
		throw_type(env, "no program at this position");
		return NULL;
	}
	return make_i64(env, bpf_program__set_autoload(program, on != 0));
}

/* objectLoad(object): 0 | -errno; takeLog() holds the verifier's words */
static napi_value object_load(napi_env env, napi_callback_info info)
{
	struct bpf_object *object;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, info, 1, argv) || !get_object(env, argv[0], &object))
		return NULL;
	log_clear();
	return make_i64(env, bpf_object__load(object));
}

static int duplicate(int fd)
{
	int copy = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return fd >= 0 && copy < 0 ? -errno : copy;
}

/* objectMap(object, map): handle | -errno, of a loaded object */
static napi_value object_map(napi_env env, napi_callback_info info)
{
	napi_value argv[MAX_ARGS];
	struct bpf_map *map;

	if (!get_args(env, info, 2, argv) || !get_object_map(env, argv, &map))
		return NULL;
	return make_map_handle(env, duplicate(bpf_map__fd(map)));
}

/* objectProgram(object, program): handle | -errno, of a loaded object */
static napi_value object_program(napi_env env, napi_callback_info info)
{
	struct bpf_program *program;
	struct bpf_object *object;
	napi_value argv[MAX_ARGS];
	uint32_t index;

	if (!get_args(env, info, 2, argv) || !get_object(env, argv[0], &object) ||
	    !get_u32(env, argv[1], &index))
		return NULL;
	program = program_at(object, index);
	if (!program) {
		throw_type(env, "no program at this position");
		return NULL;
	}
	return make_fd_handle(env, duplicate(bpf_program__fd(program)));
}

/* objectClose(object): void */
static napi_value object_close(napi_env env, napi_callback_info info)
{
	struct object_handle *handle;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, info, 1, argv) || !get_tagged(env, argv[0], &object_tag, (void **)&handle))
		return NULL;
	bpf_object__close(handle->object);
	handle->object = NULL;
	/* What libbpf read of the file and of the kernel's types are some 15 MB, which glibc would keep. */
	malloc_trim(0);
	return make_undefined(env);
}

const struct method object_methods[] = {{"objectOpen", object_open},
					{"objectNames", object_names},
					{"objectMapShape", object_map_shape},
					{"objectSetRodata", object_set_rodata},
					{"objectSetMaxEntries", object_set_max_entries},
					{"objectReuseMap", object_reuse_map},
					{"objectSetInner", object_set_inner},
					{"objectSetAutoload", object_set_autoload},
					{"objectLoad", object_load},
					{"objectMap", object_map},
					{"objectProgram", object_program},
					{"objectClose", object_close},
					{}};
