// SPDX-License-Identifier: Apache-2.0
/* Preloaded by a test: refuses the addon's own code, and nobody else, memory of more than 5000 bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define MOST_BYTES 5000

void *realloc(void *old, size_t bytes)
{
	static void *(*real)(void *, size_t);
	Dl_info caller;

	if (!real)
		real = dlsym(RTLD_NEXT, "realloc");
	if (bytes > MOST_BYTES && dladdr(__builtin_return_address(0), &caller) && caller.dli_fname &&
	    strstr(caller.dli_fname, "bpf.node"))
		return NULL;
	return real(old, bytes);
}
