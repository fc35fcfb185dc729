// SPDX-License-Identifier: Apache-2.0
#include "netns.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

struct task {
	const char *path;
	int (*work)(void *data);
	void *data;
	int result;
};

bool get_netns(napi_env env, napi_value value, struct netns *out)
{
	napi_valuetype type;

	out->path[0] = '\0';
	if (napi_typeof(env, value, &type) == napi_ok && type == napi_undefined)
		return true;
	return get_string(env, value, out->path, sizeof(out->path));
}

static void *enter_and_work(void *data)
{
	struct task *task = data;
	int fd = open(task->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		task->result = -errno;
	else
		task->result = task->work(task->data);
	if (fd >= 0)
		close(fd);
	return NULL;
}

int netns_run(const struct netns *netns, int (*work)(void *data), void *data)
{
	struct task task = {.path = netns->path, .work = work, .data = data};
	pthread_t thread;
	int err;

	if (!netns->path[0])
		return work(data);
	err = pthread_create(&thread, NULL, enter_and_work, &task);
	if (err)
		return -err;
	pthread_join(thread, NULL);
	return task.result;
}
