// SPDX-License-Identifier: Apache-2.0
/* Programs: information, test runs, and the ids on a hook. */
#include "addon.h"
#include "netns.h"

#include <linux/bpf.h>

/* Most maps of one program that are listed. */
#define MAX_PROGRAM_MAPS  64
#define MAX_HOOK_PROGRAMS 64

static bool read_info(napi_env env, napi_callback_info cb, struct bpf_prog_info *info, int *err)
{
	uint32_t length = sizeof(*info);
	struct fd_handle *program;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, cb, 1, argv) || !get_fd_handle(env, argv[0], &program))
		return false;
	*err = bpf_obj_get_info_by_fd(program->fd, info, &length);
	return true;
}

/*
 * programInfo(program): [id, type, xlated bytes, jited bytes, verified instructions, load time ns (boot
 * clock), run time ns, run count, map ids...] | -errno. Run time and count need kernel.bpf_stats_enabled.
 */
static napi_value program_info(napi_env env, napi_callback_info cb)
{
	uint32_t map_ids[MAX_PROGRAM_MAPS];
	int64_t numbers[8 + MAX_PROGRAM_MAPS];
	struct bpf_prog_info info = {.nr_map_ids = MAX_PROGRAM_MAPS, .map_ids = (uintptr_t)map_ids};
	uint32_t maps;
	int err;

	if (!read_info(env, cb, &info, &err))
		return NULL;
	if (err)
		return make_i64(env, err);
	maps = info.nr_map_ids < MAX_PROGRAM_MAPS ? info.nr_map_ids : MAX_PROGRAM_MAPS;
	memcpy(numbers,
	       (int64_t[]){info.id, info.type, info.xlated_prog_len, info.jited_prog_len, info.verified_insns,
			   info.load_time, info.run_time_ns, info.run_cnt},
	       8 * sizeof(int64_t));
	for (uint32_t i = 0; i < maps; i++)
		numbers[8 + i] = map_ids[i];
	return make_numbers(env, numbers, 8 + maps);
}

/* programName(program): string | -errno; at most 15 characters */
static napi_value program_name(napi_env env, napi_callback_info cb)
{
	struct bpf_prog_info info = {};
	napi_value name;
	int err;

	if (!read_info(env, cb, &info, &err))
		return NULL;
	if (err)
		return make_i64(env, err);
	NAPI_OK(env, napi_create_string_utf8(env, info.name, strnlen(info.name, sizeof(info.name)), &name));
	return name;
}

/* programTag(program): Buffer of 8 bytes | -errno */
static napi_value program_tag(napi_env env, napi_callback_info cb)
{
	struct bpf_prog_info info = {};
	int err;

	if (!read_info(env, cb, &info, &err))
		return NULL;
	return err ? make_i64(env, err) : make_buffer(env, info.tag, sizeof(info.tag));
}

/*
 * programTestRun(program, data, repeat, ctx?, out, ctxOut?): [return value, mean ns, bytes in out, bytes in
 * ctxOut] | -errno. Blocks for the whole run. `out` and `ctxOut` are filled during the call.
 */
static napi_value program_test_run(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct bytes data, ctx, out, ctx_out;
	struct fd_handle *program;
	napi_value argv[MAX_ARGS];
	uint32_t repeat;
	int err;

	if (!get_args(env, info, 6, argv) || !get_fd_handle(env, argv[0], &program) ||
	    !get_bytes(env, argv[1], &data) || !get_u32(env, argv[2], &repeat) ||
	    !get_optional_bytes(env, argv[3], &ctx) || !get_bytes(env, argv[4], &out) ||
	    !get_optional_bytes(env, argv[5], &ctx_out))
		return NULL;
	opts.data_in = data.data;
	opts.data_size_in = data.length;
	opts.data_out = out.data;
	opts.data_size_out = out.length;
	opts.ctx_in = ctx.data;
	opts.ctx_size_in = ctx.length;
	opts.ctx_out = ctx_out.data;
	opts.ctx_size_out = ctx_out.length;
	opts.repeat = repeat;
	err = bpf_prog_test_run_opts(program->fd, &opts);
	if (err)
		return make_i64(env, err);
	return make_numbers(
		env, (int64_t[]){opts.retval, opts.duration, opts.data_size_out, opts.ctx_size_out}, 4);
}

struct query {
	uint32_t ifindex, attach_type, count;
	uint32_t ids[MAX_HOOK_PROGRAMS];
};

static int run_query(void *data)
{
	struct query *query = data;

	return bpf_prog_query(query->ifindex, query->attach_type, 0, NULL, query->ids, &query->count);
}

/* programQuery(ifindex, attachType, netns?): ids in order | -errno */
static napi_value program_query(napi_env env, napi_callback_info info)
{
	struct query query = {.count = MAX_HOOK_PROGRAMS};
	int64_t ids[MAX_HOOK_PROGRAMS];
	struct netns netns;
	napi_value argv[MAX_ARGS];
	int err;

	if (!get_args(env, info, 2, argv) || !get_u32(env, argv[0], &query.ifindex) ||
	    !get_u32(env, argv[1], &query.attach_type) || !get_netns(env, argv[2], &netns))
		return NULL;
	err = netns_run(&netns, run_query, &query);
	if (err)
		return make_i64(env, err);
	for (uint32_t i = 0; i < query.count; i++)
		ids[i] = query.ids[i];
	return make_numbers(env, ids, query.count);
}

const struct method program_methods[] = {
	{"programInfo", program_info},	      {"programName", program_name},   {"programTag", program_tag},
	{"programTestRun", program_test_run}, {"programQuery", program_query}, {}};
