// SPDX-License-Identifier: Apache-2.0
/*
 * Node-API surface of route.c. All on JavaScript's thread. The sockets belong to the external handle and are
 * closed by routesClose, or when it is collected.
 */
#include "../../src/base/native/addon.h"
#include "route.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>

static const napi_type_tag routes_tag = {0x6369696c69726f75, 0x7465730000000001};

static void on_collected(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	routes_close(data);
	free(data);
}

/* Reads `count` arguments, the first of them routes. Throws and returns NULL when they do not fit. */
static struct routes *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	return addon_arguments(env, info, count, argv) ? addon_external(env, argv[0], &routes_tag) : NULL;
}

/* routesOpen(netnsFd or -1) -> handle | -errno */
static napi_value addon_open(napi_env env, napi_callback_info info)
{
	napi_value argument, external;
	int32_t netns_fd;
	struct routes *routes;
	int result;

	if (!addon_arguments(env, info, 1, &argument))
		return NULL;
	ADDON_CHECK(env, napi_get_value_int32(env, argument, &netns_fd));
	routes = calloc(1, sizeof(*routes));
	if (!routes)
		return addon_number(env, -ENOMEM);
	result = routes_open(routes, netns_fd);
	if (result < 0 || napi_create_external(env, routes, on_collected, NULL, &external) != napi_ok) {
		routes_close(routes);
		free(routes);
		return addon_number(env, result < 0 ? result : -ENOMEM);
	}
	ADDON_CHECK(env, napi_type_tag_object(env, external, &routes_tag));
	return external;
}

/* routesChanged(handle) -> 0 | 1 | -errno */
static napi_value addon_changed(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct routes *routes = arguments(env, info, 1, &argument);

	if (!routes)
		return NULL;
	return addon_number(env, routes->listen < 0 ? -EBADF : routes_changed(routes));
}

/*
 * routesDevices(handle, family, addresses, source of 0, 4 or 16 bytes) -> indices of devices | -errno.
 * `addresses` lie one behind the other; those that nothing leads to add nothing.
 */
static napi_value addon_devices(napi_env env, napi_callback_info info)
{
	napi_value argv[4], list, device;
	struct routes *routes = arguments(env, info, 4, argv);
	size_t length = 0, source_length = 0;
	uint32_t devices[ROUTE_DEVICES_MAX], found = 0;
	const uint8_t *addresses, *source;
	int32_t family;
	size_t bytes;

	addresses = routes ? addon_bytes(env, argv[2], 0, &length) : NULL;
	source = addresses ? addon_bytes(env, argv[3], 0, &source_length) : NULL;
	if (!source)
		return NULL;
	ADDON_CHECK(env, napi_get_value_int32(env, argv[1], &family));
	bytes = family == 4 ? 4 : 16;
	if ((family != 4 && family != 6) || length % bytes || (source_length && source_length != bytes))
		return addon_fail_range(env, "an argument is out of range");
	if (routes->ask < 0)
		return addon_number(env, -EBADF);
	for (size_t at = 0; at < length; at += bytes) {
		struct route_question question = {family, addresses + at, source_length ? source : NULL};
		int result = routes_ask(routes, &question, devices, &found);

		/* Only what concerns every question is told. */
		if (result == -EAGAIN || result == -EPERM || result == -ENOBUFS)
			return addon_number(env, result);
	}
	ADDON_CHECK(env, napi_create_array_with_length(env, found, &list));
	for (uint32_t i = 0; i < found; i++) {
		ADDON_CHECK(env, napi_create_uint32(env, devices[i], &device));
		ADDON_CHECK(env, napi_set_element(env, list, i, device));
	}
	return list;
}

/* routesIndex(handle, name) -> index of the device | -errno */
static napi_value addon_index(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct routes *routes = arguments(env, info, 2, argv);
	size_t length;
	char name[IFNAMSIZ + 1];

	if (!routes)
		return NULL;
	ADDON_CHECK(env, napi_get_value_string_utf8(env, argv[1], name, sizeof(name), &length));
	return addon_number(env, routes->ask < 0 ? -EBADF : routes_index(routes, name));
}

/* routesName(handle, index) -> name | -errno */
static napi_value addon_name(napi_env env, napi_callback_info info)
{
	napi_value argv[2], text;
	struct routes *routes = arguments(env, info, 2, argv);
	char name[IFNAMSIZ + 1] = {0};
	uint32_t index;
	int result;

	if (!routes)
		return NULL;
	ADDON_CHECK(env, napi_get_value_uint32(env, argv[1], &index));
	result = routes->ask < 0 ? -EBADF : routes_name(routes, index, name);
	if (result < 0)
		return addon_number(env, result);
	ADDON_CHECK(env, napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text));
	return text;
}

/* routesClose(handle); may be called twice */
static napi_value addon_close(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct routes *routes = arguments(env, info, 1, &argument);

	if (routes)
		routes_close(routes);
	return NULL;
}

bool routes_define(napi_env env, napi_value exports)
{
	static const struct addon_method functions[] = {
		{"routesOpen", addon_open},	  {"routesChanged", addon_changed},
		{"routesDevices", addon_devices}, {"routesIndex", addon_index},
		{"routesName", addon_name},	  {"routesClose", addon_close},
	};

	return addon_define(env, exports, functions, sizeof(functions) / sizeof(functions[0]));
}
