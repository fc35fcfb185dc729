/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What native addons share of Node-API: arguments, results and the call back into JavaScript. Everything runs
 * on the JavaScript thread. What returns NULL or false has left an exception pending.
 */
#ifndef CILIATE_NATIVE_ADDON_H
#define CILIATE_NATIVE_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Code of the errors that the addon throws; each addon says its own. */
extern const char addon_code[];

/* Throws and returns from the calling function when a Node-API call fails. */
#define ADDON_CHECK(env, call)                                                                               \
	do {                                                                                                 \
		if ((call) != napi_ok)                                                                       \
			return addon_fail_last(env);                                                         \
	} while (0)

/* Each throws, unless an exception is pending already, and returns NULL: a TypeError, a RangeError, and an
 * Error that says what Node-API met last. */
napi_value addon_fail(napi_env env, const char *message);
napi_value addon_fail_range(napi_env env, const char *message);
napi_value addon_fail_last(napi_env env);

/* Reads `count` arguments; false when there are fewer. */
bool addon_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv);

/* False when it is no integer of 32 bits. */
bool addon_u32(napi_env env, napi_value value, uint32_t *out);

/* The bytes of a Uint8Array or Buffer of at least `least` bytes; of an empty one, a pointer to nothing. */
uint8_t *addon_bytes(napi_env env, napi_value value, size_t least, size_t *length);

/* The same of a typed array of any kind; `length` in bytes. */
void *addon_array(napi_env env, napi_value value, size_t least, size_t *length);

/* What an external value with this tag refers to. */
void *addon_external(napi_env env, napi_value value, const napi_type_tag *tag);

napi_value addon_number(napi_env env, double value);

/* An Int32Array with a copy of the values. */
napi_value addon_int32s(napi_env env, const int32_t *values, size_t count);

struct addon_method {
	const char *name;
	napi_callback call;
};

/* Adds functions to the addon's exports. */
bool addon_define(napi_env env, napi_value exports, const struct addon_method *methods, size_t count);

/* A function of JavaScript that the addon calls outside of any call; zeroed: none. It is kept until dropped.
 */
struct addon_callback {
	napi_env env;
	napi_ref function;
	napi_async_context context;
};

/* `name` is what tools that trace asynchronous work show. */
bool addon_callback_keep(napi_env env, struct addon_callback *callback, const char *name,
			 napi_value function);
void addon_callback_drop(struct addon_callback *callback);

/* Calls with a number, or with nothing where `told` is NULL. What the function throws is an uncaught
 * exception of the process. */
void addon_callback_call(const struct addon_callback *callback, const uint32_t *told);

#endif
