/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices lead to addresses, as the kernel's own route look-up says. All functions run on the caller's
 * thread and return 0 or more, or a negative errno.
 */
#ifndef CILIATE_ROUTE_H
#define CILIATE_ROUTE_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

#define ROUTE_DEVICES_MAX 64

struct routes {
	int ask;    /* netlink socket of questions; -1: closed */
	int listen; /* netlink socket that hears of changed links, addresses and routes */
	uint32_t sequence;
};

struct route_question {
	int family; /* 4, 6 */
	const uint8_t *address;
	const uint8_t *source; /* NULL: any */
};

/* netns_fd -1: the caller's namespace */
int routes_open(struct routes *routes, int netns_fd);
void routes_close(struct routes *routes);
/* 1: something may have changed since the last call */
int routes_changed(struct routes *routes);
/* Adds the devices of an address to `devices`, each once. -ENETUNREACH and the like: none leads there. */
int routes_ask(struct routes *routes, const struct route_question *question,
	       uint32_t devices[ROUTE_DEVICES_MAX], uint32_t *count);
/* Index of a device by its name, which `name` holds; and the name, of 16 bytes, by the index. */
int routes_index(const struct routes *routes, const char *name);
int routes_name(const struct routes *routes, uint32_t index, char *name);

/* Adds the functions to the addon's exports; false with an exception when it cannot. */
bool routes_define(napi_env env, napi_value exports);

#endif
