// SPDX-License-Identifier: Apache-2.0
/* Links: a program on a hook, held by a descriptor or a pin. */
#include "addon.h"
#include "netns.h"

#include <fcntl.h>
#include <linux/bpf.h>

/*
 * struct bpf_link_info as far as it is read here. The headers of Debian 12 (Linux 6.1) do not know tcx links
 * (Linux 6.6); the layout is fixed by the kernel's ABI. May go when the build needs newer headers anyway.
 */
struct link_info {
	uint32_t type, id, prog_id, padding;
	union {
		struct {
			uint32_t ifindex, attach_type;
		} tcx;
		struct {
			uint64_t cgroup_id;
			uint32_t attach_type;
		} cgroup;
		uint64_t space[8];
	};
};

/* BPF_F_BEFORE of uapi/linux/bpf.h (Linux 6.6); without a program to stand before it means: as the first. */
#define F_BEFORE (1u << 3)

struct attach {
	int program;
	uint32_t target, attach_type, flags;
};

static int run_attach(void *data)
{
	struct attach *attach = data;
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = attach->flags);

	return bpf_link_create(attach->program, attach->target, attach->attach_type, &opts);
}

/* Whether to stand before all other programs of the hook; undefined: behind them. */
static bool get_first(napi_env env, napi_value value, struct attach *attach)
{
	napi_valuetype type;
	bool first = false;

	if (napi_typeof(env, value, &type) != napi_ok ||
	    (type != napi_undefined && napi_get_value_bool(env, value, &first) != napi_ok)) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected a boolean");
		return false;
	}
	attach->flags = first ? F_BEFORE : 0;
	return true;
}

/* linkCreate(program, ifindex | cgroup descriptor, attachType, netns?, first?): handle | -errno */
static napi_value link_create(napi_env env, napi_callback_info info)
{
	struct fd_handle *program;
	struct attach attach;
	struct netns netns;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &program) ||
	    !get_u32(env, argv[1], &attach.target) || !get_u32(env, argv[2], &attach.attach_type) ||
	    !get_netns(env, argv[3], &netns) || !get_first(env, argv[4], &attach))
		return NULL;
	attach.program = program->fd;
	return make_fd_handle(env, netns_run(&netns, run_attach, &attach));
}

/* One attachment that a thread of libuv's pool does: the kernel waits for RCU, 8 to 16 ms a link. */
struct attach_work {
	struct attach attach; /* its program is a descriptor of our own: the handle may be closed meanwhile */
	struct netns netns;
	napi_async_work work;
	napi_deferred deferred;
	int result;
};

/* On a thread of the pool. */
static void execute_attach(napi_env env, void *data)
{
	struct attach_work *work = data;

	work->result = netns_run(&work->netns, run_attach, &work->attach);
}

static void free_attach(struct attach_work *work)
{
	close(work->attach.program);
	free(work);
}

/* On the environment's thread. What was attached but cannot be handed out any more is detached by its close.
 */
static void complete_attach(napi_env env, napi_status status, void *data)
{
	struct attach_work *work = data;
	napi_value result;

	result = make_fd_handle(env, status == napi_ok ? work->result : -ECANCELED);
	if (result)
		napi_resolve_deferred(env, work->deferred, result);
	napi_delete_async_work(env, work->work);
	free_attach(work);
}

static bool queue_attach(napi_env env, struct attach_work *work, napi_value *promise)
{
	napi_value name;

	return napi_create_string_utf8(env, "ciliate:link", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	       napi_create_async_work(env, NULL, name, execute_attach, complete_attach, work, &work->work) ==
		       napi_ok &&
	       napi_create_promise(env, &work->deferred, promise) == napi_ok &&
	       napi_queue_async_work(env, work->work) == napi_ok;
}

/* linkCreateAsync(program, ifindex | cgroup descriptor, attachType, netns?, first?): promise of handle |
 * -errno */
static napi_value link_create_async(napi_env env, napi_callback_info info)
{
	struct fd_handle *program;
	struct attach_work *work;
	napi_value argv[MAX_ARGS], promise;

	if (!get_args(env, info, 3, argv) || !get_fd_handle(env, argv[0], &program))
		return NULL;
	work = calloc(1, sizeof(*work));
	if (!work) {
		napi_throw_error(env, "ENOMEM", "no memory for an attachment");
		return NULL;
	}
	work->attach.program = fcntl(program->fd, F_DUPFD_CLOEXEC, 0);
	if (work->attach.program < 0) {
		napi_throw_error(env, "EMFILE", "no descriptor for an attachment");
		free(work);
		return NULL;
	}
	if (!get_u32(env, argv[1], &work->attach.target) ||
	    !get_u32(env, argv[2], &work->attach.attach_type) || !get_netns(env, argv[3], &work->netns) ||
	    !get_first(env, argv[4], &work->attach)) {
		free_attach(work);
		return NULL;
	}
	if (!queue_attach(env, work, &promise)) {
		throw_last(env);
		if (work->work)
			napi_delete_async_work(env, work->work);
		free_attach(work);
		return NULL;
	}
	return promise;
}

/* linkInfo(link): [id, type, program id, ifindex or 0, attach type or 0] | -errno. 11 is the type of tcx, 3
 * of cgroup. */
static napi_value link_info(napi_env env, napi_callback_info cb)
{
	struct link_info info = {};
	uint32_t length = sizeof(info);
	int64_t ifindex = 0, attach_type = 0;
	struct fd_handle *link;
	napi_value argv[MAX_ARGS];
	int err;

	if (!get_args(env, cb, 1, argv) || !get_fd_handle(env, argv[0], &link))
		return NULL;
	err = bpf_obj_get_info_by_fd(link->fd, &info, &length);
	if (err)
		return make_i64(env, err);
	if (info.type == 11) {
		ifindex = info.tcx.ifindex;
		attach_type = info.tcx.attach_type;
	} else if (info.type == BPF_LINK_TYPE_CGROUP) {
		attach_type = info.cgroup.attach_type;
	}
	return make_numbers(env, (int64_t[]){info.id, info.type, info.prog_id, ifindex, attach_type}, 5);
}

/* linkUpdate(link, program, old?): 0 | -errno; with `old`, -EPERM when another program is attached */
static napi_value link_update(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_link_update_opts, opts);
	struct fd_handle *link, *program, *old;
	napi_value argv[MAX_ARGS];
	napi_valuetype type;

	if (!get_args(env, info, 2, argv) || !get_fd_handle(env, argv[0], &link) ||
	    !get_fd_handle(env, argv[1], &program))
		return NULL;
	NAPI_OK(env, napi_typeof(env, argv[2], &type));
	if (type != napi_undefined) {
		if (!get_fd_handle(env, argv[2], &old))
			return NULL;
		opts.flags = BPF_F_REPLACE;
		opts.old_prog_fd = old->fd;
	}
	return make_i64(env, bpf_link_update(link->fd, program->fd, &opts));
}

/* linkDetach(link): 0 | -errno */
static napi_value link_detach(napi_env env, napi_callback_info info)
{
	struct fd_handle *link;
	napi_value argv[MAX_ARGS];

	if (!get_args(env, info, 1, argv) || !get_fd_handle(env, argv[0], &link))
		return NULL;
	return make_i64(env, bpf_link_detach(link->fd));
}

const struct method link_methods[] = {{"linkCreate", link_create}, {"linkCreateAsync", link_create_async},
				      {"linkInfo", link_info},	   {"linkUpdate", link_update},
				      {"linkDetach", link_detach}, {}};
