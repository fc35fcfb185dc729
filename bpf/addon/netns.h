/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CILIATE_BPF_NETNS_H
#define CILIATE_BPF_NETNS_H

#include <stdbool.h>

#include "addon.h"

/* A network namespace by path, or the caller's own (empty path). */
struct netns {
	char path[4096];
};

/* undefined gives the caller's own namespace. */
bool get_netns(napi_env env, napi_value value, struct netns *out);

/*
 * Runs `work` inside the namespace and returns its result, or -errno of entering. A namespace is a property
 * of the thread: a thread that lives for this call enters it, the caller waits and never leaves its own.
 */
int netns_run(const struct netns *netns, int (*work)(void *data), void *data);

#endif
