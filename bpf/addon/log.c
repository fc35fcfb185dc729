// SPDX-License-Identifier: Apache-2.0
/*
 * Keeps what libbpf says (verifier logs among it) for the thread that made it speak, instead of standard
 * error. The buffer is the thread's own, is bounded, and keeps the newest text: the end of a verifier log
 * says why.
 */
#include "addon.h"

#include <stdarg.h>
#include <stdio.h>

#define LOG_BYTES (1 << 20)

static __thread char *log_text;
static __thread size_t log_length;

static void log_append(const char *text, size_t length)
{
	if (!log_text)
		log_text = malloc(LOG_BYTES);
	if (!log_text)
		return;
	if (length > LOG_BYTES / 2) {
		text += length - LOG_BYTES / 2;
		length = LOG_BYTES / 2;
	}
	if (log_length + length > LOG_BYTES) {
		size_t keep = LOG_BYTES - length;

		memmove(log_text, log_text + log_length - keep, keep);
		log_length = keep;
	}
	memcpy(log_text + log_length, text, length);
	log_length += length;
}

static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text;
	int length;

	if (level != LIBBPF_WARN)
		return 0;
	length = vasprintf(&text, format, args);
	if (length < 0)
		return 0;
	log_append(text, length);
	free(text);
	return length;
}

/* Runs on the environment's thread when the environment ends. */
static void log_release(void *unused)
{
	free(log_text);
	log_text = NULL;
	log_length = 0;
}

napi_status log_install(napi_env env)
{
	libbpf_set_print(on_print);
	return napi_add_env_cleanup_hook(env, log_release, NULL);
}

void log_clear(void)
{
	log_length = 0;
}

/* takeLog(): string; releases the buffer */
static napi_value log_take(napi_env env, napi_callback_info info)
{
	napi_value result;
	napi_status status = napi_create_string_latin1(env, log_text ? log_text : "", log_length, &result);

	free(log_text);
	log_text = NULL;
	log_length = 0;
	NAPI_OK(env, status);
	return result;
}

const struct method log_methods[] = {{"takeLog", log_take}, {}};
