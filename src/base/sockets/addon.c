// SPDX-License-Identifier: Apache-2.0
/* Arguments and results of the addon's functions. Threads: the JavaScript thread only. */
#include "addon.h"

napi_value addon_fail(napi_env env, const char *message)
{
	bool pending = false;

	if (napi_is_exception_pending(env, &pending) == napi_ok && !pending)
		napi_throw_type_error(env, "SOCKETS_ARGUMENT", message);
	return NULL;
}

napi_value addon_number(napi_env env, double value)
{
	napi_value result = NULL;

	if (napi_create_double(env, value, &result) != napi_ok)
		return addon_fail(env, "cannot make the result");
	return result;
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
