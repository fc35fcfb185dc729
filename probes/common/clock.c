// SPDX-License-Identifier: Apache-2.0
#include "clock.h"

#include <time.h>

#define BRACKET_TRIES 4
#define BRACKET_NS    2000 /* a pair of reads further apart than this was interrupted */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t probe_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t probe_clock_offset_ns(uint64_t *width_ns)
{
	uint64_t best = UINT64_MAX;
	int64_t offset = 0;

	for (int i = 0; i < BRACKET_TRIES && best > BRACKET_NS; i++) {
		uint64_t before = clock_ns(CLOCK_MONOTONIC);
		uint64_t real = clock_ns(CLOCK_REALTIME);
		uint64_t after = clock_ns(CLOCK_MONOTONIC);

		if (after - before < best) {
			best = after - before;
			offset = (int64_t)(real - (before + best / 2));
		}
	}
	*width_ns = best;
	return offset;
}
