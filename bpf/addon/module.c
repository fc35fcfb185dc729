// SPDX-License-Identifier: Apache-2.0
/* The table of contents of the boundary, and the helpers for arguments and results. */
#include "addon.h"

void throw_last(napi_env env)
{
	const napi_extended_error_info *info = NULL;
	bool pending = false;

	if (napi_is_exception_pending(env, &pending) == napi_ok && pending)
		return;
	napi_get_last_error_info(env, &info);
	napi_throw_error(env, "BPF_NAPI",
			 info && info->error_message ? info->error_message : "Node-API call failed");
}

bool throw_type(napi_env env, const char *message)
{
	napi_throw_type_error(env, "BPF_ARGUMENT", message);
	return false;
}

bool get_args(napi_env env, napi_callback_info info, size_t want, napi_value *argv)
{
	size_t count = MAX_ARGS;

	if (napi_get_cb_info(env, info, &count, argv, NULL, NULL) != napi_ok) {
		throw_last(env);
		return false;
	}
	return count >= want || throw_type(env, "too few arguments");
}

bool get_u32(napi_env env, napi_value value, uint32_t *out)
{
	double number;

	if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0 && number <= UINT32_MAX) ||
	    number != (double)(uint32_t)number)
		return throw_type(env, "expected an integer from 0 to 4294967295");
	*out = (uint32_t)number;
	return true;
}

bool get_bytes(napi_env env, napi_value value, struct bytes *out)
{
	bool is_buffer = false;

	if (napi_is_buffer(env, value, &is_buffer) != napi_ok || !is_buffer ||
	    napi_get_buffer_info(env, value, &out->data, &out->length) != napi_ok)
		return throw_type(env, "expected a Buffer or Uint8Array");
	return true;
}

bool get_optional_bytes(napi_env env, napi_value value, struct bytes *out)
{
	napi_valuetype type;

	*out = (struct bytes){NULL, 0};
	if (napi_typeof(env, value, &type) == napi_ok && type == napi_undefined)
		return true;
	return get_bytes(env, value, out);
}

bool get_string(napi_env env, napi_value value, char *out, size_t size)
{
	size_t length = 0;

	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		return throw_type(env, "expected a string");
	if (length >= size)
		return throw_type(env, "string too long");
	if (napi_get_value_string_utf8(env, value, out, size, &length) != napi_ok)
		return throw_type(env, "expected a string");
	return strlen(out) == length || throw_type(env, "string holds a NUL byte");
}

napi_value make_i64(napi_env env, int64_t value)
{
	napi_value result;

	NAPI_OK(env, napi_create_int64(env, value, &result));
	return result;
}

napi_value make_undefined(napi_env env)
{
	napi_value result;

	NAPI_OK(env, napi_get_undefined(env, &result));
	return result;
}

napi_value make_buffer(napi_env env, const void *data, size_t length)
{
	napi_value result;

	NAPI_OK(env, napi_create_buffer_copy(env, length, data, NULL, &result));
	return result;
}

napi_value make_numbers(napi_env env, const int64_t *values, size_t count)
{
	napi_value array, number;

	NAPI_OK(env, napi_create_array_with_length(env, count, &array));
	for (size_t i = 0; i < count; i++) {
		NAPI_OK(env, napi_create_int64(env, values[i], &number));
		NAPI_OK(env, napi_set_element(env, array, i, number));
	}
	return array;
}

static bool add_methods(napi_env env, napi_value exports, const struct method *methods)
{
	for (; methods->name; methods++) {
		napi_value function;

		if (napi_create_function(env, methods->name, NAPI_AUTO_LENGTH, methods->callback, NULL,
					 &function) != napi_ok ||
		    napi_set_named_property(env, exports, methods->name, function) != napi_ok)
			return false;
	}
	return true;
}

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */)
{
	const struct method *tables[] = {handle_methods, object_methods,  map_methods,	program_methods,
					 link_methods,	 ringbuf_methods, walk_methods, btf_methods,
					 system_methods, log_methods};

	NAPI_OK(env, log_install(env));
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (!add_methods(env, exports, tables[i])) {
			throw_last(env);
			return NULL;
		}
	}
	return exports;
}
