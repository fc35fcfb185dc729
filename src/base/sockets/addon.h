/* SPDX-License-Identifier: Apache-2.0 */
/* What the addon's files share of reading arguments and making results. */
#ifndef CILIATE_SOCKETS_ADDON_H
#define CILIATE_SOCKETS_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Throws a TypeError with the code SOCKETS_ARGUMENT, unless an exception is pending already. Returns NULL. */
napi_value addon_fail(napi_env env, const char *message);

/* The result of a call; NULL with an exception when it cannot be made. */
napi_value addon_number(napi_env env, double value);

/* False with an exception when it is no integer of 32 bits. */
bool addon_u32(napi_env env, napi_value value, uint32_t *out);

/* The bytes of a Uint8Array or Buffer of at least `least` bytes; NULL with an exception when it is none. */
uint8_t *addon_bytes(napi_env env, napi_value value, size_t least, size_t *length);

/* stream_addon.c: adds its functions to the addon's exports; false with an exception when it cannot. */
bool stream_functions(napi_env env, napi_value exports);

#endif
