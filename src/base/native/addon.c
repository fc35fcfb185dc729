// SPDX-License-Identifier: Apache-2.0
#include "addon.h"

#include <string.h>

static bool is_pending(napi_env env)
{
	bool pending = false;

	return napi_is_exception_pending(env, &pending) != napi_ok || pending;
}

napi_value addon_fail(napi_env env, const char *message)
{
	if (!is_pending(env))
		napi_throw_type_error(env, addon_code, message);
	return NULL;
}

napi_value addon_fail_range(napi_env env, const char *message)
{
	if (!is_pending(env))
		napi_throw_range_error(env, addon_code, message);
	return NULL;
}

napi_value addon_fail_last(napi_env env)
{
	const napi_extended_error_info *info = NULL;
	const char *message = NULL;

	/* First of all: every other call forgets it. */
	if (napi_get_last_error_info(env, &info) == napi_ok && info)
		message = info->error_message;
	if (!is_pending(env))
		napi_throw_error(env, addon_code, message ? message : "the addon was called wrongly");
	return NULL;
}

bool addon_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	size_t given = count;

	if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) == napi_ok && given >= count)
		return true;
	addon_fail(env, "expected more arguments");
	return false;
}

bool addon_u32(napi_env env, napi_value value, uint32_t *out)
{
	double given;

	if (napi_get_value_double(env, value, &given) != napi_ok || !(given >= 0 && given <= UINT32_MAX) ||
	    given != (double)(uint32_t)given) {
		addon_fail(env, "expected an integer from 0 to 4294967295");
		return false;
	}
	*out = (uint32_t)given;
	return true;
}

uint8_t *addon_bytes(napi_env env, napi_value value, size_t least, size_t *length)
{
	napi_typedarray_type type;
	bool is_array = false;
	void *bytes = NULL;

	if (napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
	    napi_get_typedarray_info(env, value, &type, length, &bytes, NULL, NULL) == napi_ok &&
	    type == napi_uint8_array && *length >= least && (bytes || !*length))
		return bytes ? bytes : (uint8_t *)"";
	addon_fail(env, "expected a Uint8Array that is long enough");
	return NULL;
}

static size_t element_bytes(napi_typedarray_type type)
{
	switch (type) {
	case napi_int8_array:
	case napi_uint8_array:
	case napi_uint8_clamped_array:
		return 1;
	case napi_int32_array:
	case napi_uint32_array:
	case napi_float32_array:
		return 4;
	case napi_float64_array:
	case napi_bigint64_array:
	case napi_biguint64_array:
		return 8;
	default:
		return 2;
	}
}

void *addon_array(napi_env env, napi_value value, size_t least, size_t *length)
{
	napi_typedarray_type type;
	bool is_array = false;
	size_t elements = 0;
	void *bytes = NULL;

	if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
	    napi_get_typedarray_info(env, value, &type, &elements, &bytes, NULL, NULL) != napi_ok)
		return addon_fail(env, "expected a typed array");
	*length = elements * element_bytes(type);
	if (*length < least || (*length && !bytes))
		return addon_fail_range(env, "the typed array is too short");
	return bytes ? bytes : "";
}

void *addon_external(napi_env env, napi_value value, const napi_type_tag *tag)
{
	napi_valuetype type;
	bool ours = false;
	void *data = NULL;

	if (napi_typeof(env, value, &type) == napi_ok && type == napi_external &&
	    napi_check_object_type_tag(env, value, tag, &ours) == napi_ok && ours &&
	    napi_get_value_external(env, value, &data) == napi_ok)
		return data;
	return addon_fail(env, "expected a handle of this addon");
}

napi_value addon_number(napi_env env, double value)
{
	napi_value result = NULL;

	ADDON_CHECK(env, napi_create_double(env, value, &result));
	return result;
}

napi_value addon_int32s(napi_env env, const int32_t *values, size_t count)
{
	napi_value buffer, array;
	void *bytes;

	ADDON_CHECK(env, napi_create_arraybuffer(env, count * sizeof(*values), &bytes, &buffer));
	memcpy(bytes, values, count * sizeof(*values));
	ADDON_CHECK(env, napi_create_typedarray(env, napi_int32_array, count, buffer, 0, &array));
	return array;
}

bool addon_define(napi_env env, napi_value exports, const struct addon_method *methods, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const napi_property_descriptor property = {
			.utf8name = methods[i].name,
			.method = methods[i].call,
			.attributes = napi_enumerable,
		};

		if (napi_define_properties(env, exports, 1, &property) != napi_ok) {
			addon_fail_last(env);
			return false;
		}
	}
	return true;
}

bool addon_callback_keep(napi_env env, struct addon_callback *callback, const char *name, napi_value function)
{
	napi_value resource;

	callback->env = env;
	if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &resource) == napi_ok &&
	    napi_async_init(env, NULL, resource, &callback->context) == napi_ok &&
	    napi_create_reference(env, function, 1, &callback->function) == napi_ok)
		return true;
	addon_fail_last(env);
	addon_callback_drop(callback);
	return false;
}

void addon_callback_drop(struct addon_callback *callback)
{
	if (callback->function)
		napi_delete_reference(callback->env, callback->function);
	if (callback->context)
		napi_async_destroy(callback->env, callback->context);
	callback->function = NULL;
	callback->context = NULL;
}

void addon_callback_call(const struct addon_callback *callback, const uint32_t *told)
{
	napi_env env = callback->env;
	napi_value function, receiver, argument, result, exception;
	napi_handle_scope scope;

	if (!callback->function || napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	if (napi_get_reference_value(env, callback->function, &function) == napi_ok &&
	    napi_get_global(env, &receiver) == napi_ok &&
	    (!told || napi_create_uint32(env, *told, &argument) == napi_ok) &&
	    napi_make_callback(env, callback->context, receiver, function, told ? 1 : 0, &argument,
			       &result) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &exception) == napi_ok)
		napi_fatal_exception(env, exception);
	napi_close_handle_scope(env, scope);
}
