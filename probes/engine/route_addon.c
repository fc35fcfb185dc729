// SPDX-License-Identifier: Apache-2.0
/*
 * Node-API surface of route.c. All on JavaScript's thread. The sockets belong to the external handle and are
 * closed by routesClose, or when it is collected.
 */
#include "route.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>

static const napi_type_tag routes_tag = {0x6369696c69726f75, 0x7465730000000001};

#define CHECK(env, call)                                                                                     \
	do {                                                                                                 \
		if ((call) != napi_ok) {                                                                     \
			fail(env);                                                                           \
			return NULL;                                                                         \
		}                                                                                            \
	} while (0)

static void fail(napi_env env)
{
	bool pending = false;

	napi_is_exception_pending(env, &pending);
	if (!pending)
		napi_throw_type_error(env, "ENGINE_ADDON", "the route addon was called wrongly");
}

static void on_collected(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	routes_close(data);
	free(data);
}

static napi_value number(napi_env env, int value)
{
	napi_value result = NULL;

	CHECK(env, napi_create_int32(env, value, &result));
	return result;
}

static struct routes *routes_argument(napi_env env, napi_value value)
{
	bool ours = false;
	void *data = NULL;

	if (napi_check_object_type_tag(env, value, &routes_tag, &ours) != napi_ok || !ours ||
	    napi_get_value_external(env, value, &data) != napi_ok) {
		napi_throw_type_error(env, "ENGINE_ADDON", "expected routes of this addon");
		return NULL;
	}
	return data;
}

/* routesOpen(netnsFd or -1) -> handle | -errno */
static napi_value addon_open(napi_env env, napi_callback_info info)
{
	napi_value argument, external;
	size_t count = 1;
	int32_t netns_fd;
	struct routes *routes;
	int result;

	CHECK(env, napi_get_cb_info(env, info, &count, &argument, NULL, NULL));
	CHECK(env, napi_get_value_int32(env, argument, &netns_fd));
	routes = calloc(1, sizeof(*routes));
	if (!routes)
		return number(env, -ENOMEM);
	result = routes_open(routes, netns_fd);
	if (result < 0 || napi_create_external(env, routes, on_collected, NULL, &external) != napi_ok) {
		routes_close(routes);
		free(routes);
		return number(env, result < 0 ? result : -ENOMEM);
	}
	CHECK(env, napi_type_tag_object(env, external, &routes_tag));
	return external;
}

/* routesChanged(handle) -> 0 | 1 | -errno */
static napi_value addon_changed(napi_env env, napi_callback_info info)
{
	napi_value argument;
	size_t count = 1;
	struct routes *routes;

	CHECK(env, napi_get_cb_info(env, info, &count, &argument, NULL, NULL));
	routes = routes_argument(env, argument);
	if (!routes)
		return NULL;
	return number(env, routes->listen < 0 ? -EBADF : routes_changed(routes));
}

static bool bytes_of(napi_env env, napi_value value, const uint8_t **bytes, size_t *length)
{
	napi_typedarray_type type;
	void *data = NULL;

	if (napi_get_typedarray_info(env, value, &type, length, &data, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array) {
		napi_throw_type_error(env, "ENGINE_ADDON", "expected a Uint8Array");
		return false;
	}
	*bytes = data;
	return true;
}

/*
 * routesDevices(handle, family, addresses, source of 0, 4 or 16 bytes) -> indices of devices | -errno.
 * `addresses` lie one behind the other; those that nothing leads to add nothing.
 */
static napi_value addon_devices(napi_env env, napi_callback_info info)
{
	napi_value arguments[4], list, device;
	size_t count = 4, length = 0, source_length = 0;
	uint32_t devices[ROUTE_DEVICES_MAX], found = 0;
	const uint8_t *addresses, *source;
	struct routes *routes;
	int32_t family;
	size_t bytes;

	CHECK(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL));
	routes = routes_argument(env, arguments[0]);
	if (!routes || !bytes_of(env, arguments[2], &addresses, &length) ||
	    !bytes_of(env, arguments[3], &source, &source_length))
		return NULL;
	CHECK(env, napi_get_value_int32(env, arguments[1], &family));
	bytes = family == 4 ? 4 : 16;
	if ((family != 4 && family != 6) || length % bytes || (source_length && source_length != bytes)) {
		napi_throw_range_error(env, "ENGINE_ADDON", "an argument is out of range");
		return NULL;
	}
	if (routes->ask < 0)
		return number(env, -EBADF);
	for (size_t at = 0; at < length; at += bytes) {
		struct route_question question = {family, addresses + at, source_length ? source : NULL};
		int result = routes_ask(routes, &question, devices, &found);

		/* Only what concerns every question is told. */
		if (result == -EAGAIN || result == -EPERM || result == -ENOBUFS)
			return number(env, result);
	}
	CHECK(env, napi_create_array_with_length(env, found, &list));
	for (uint32_t i = 0; i < found; i++) {
		CHECK(env, napi_create_uint32(env, devices[i], &device));
		CHECK(env, napi_set_element(env, list, i, device));
	}
	return list;
}

/* routesIndex(handle, name) -> index of the device | -errno */
static napi_value addon_index(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	size_t count = 2, length;
	struct routes *routes;
	char name[IFNAMSIZ + 1];

	CHECK(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL));
	routes = routes_argument(env, arguments[0]);
	if (!routes)
		return NULL;
	CHECK(env, napi_get_value_string_utf8(env, arguments[1], name, sizeof(name), &length));
	return number(env, routes->ask < 0 ? -EBADF : routes_index(routes, name));
}

/* routesName(handle, index) -> name | -errno */
static napi_value addon_name(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], text;
	size_t count = 2;
	struct routes *routes;
	char name[IFNAMSIZ + 1] = {0};
	uint32_t index;
	int result;

	CHECK(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL));
	routes = routes_argument(env, arguments[0]);
	if (!routes)
		return NULL;
	CHECK(env, napi_get_value_uint32(env, arguments[1], &index));
	result = routes->ask < 0 ? -EBADF : routes_name(routes, index, name);
	if (result < 0)
		return number(env, result);
	CHECK(env, napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text));
	return text;
}

/* routesClose(handle); may be called twice */
static napi_value addon_close(napi_env env, napi_callback_info info)
{
	napi_value argument;
	size_t count = 1;
	struct routes *routes;

	CHECK(env, napi_get_cb_info(env, info, &count, &argument, NULL, NULL));
	routes = routes_argument(env, argument);
	if (routes)
		routes_close(routes);
	return NULL;
}

napi_status routes_define(napi_env env, napi_value exports)
{
	const napi_property_descriptor functions[] = {
		{"routesOpen", NULL, addon_open, NULL, NULL, NULL, napi_enumerable, NULL},
		{"routesChanged", NULL, addon_changed, NULL, NULL, NULL, napi_enumerable, NULL},
		{"routesDevices", NULL, addon_devices, NULL, NULL, NULL, napi_enumerable, NULL},
		{"routesIndex", NULL, addon_index, NULL, NULL, NULL, napi_enumerable, NULL},
		{"routesName", NULL, addon_name, NULL, NULL, NULL, napi_enumerable, NULL},
		{"routesClose", NULL, addon_close, NULL, NULL, NULL, napi_enumerable, NULL},
	};

	return napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
