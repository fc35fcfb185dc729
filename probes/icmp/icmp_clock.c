// SPDX-License-Identifier: Apache-2.0
/*
 * Kernel stamps are CLOCK_REALTIME, which can be set while a probe is under way. Realtime and monotonic run
 * at the same rate, so their distance changes only when the clock is stepped: stamps are moved to monotonic
 * by that distance, and it is replaced only when a step was seen.
 */
#include "icmp.h"

#include <time.h>

#define NS_PER_SECOND 1000000000ull
#define BRACKET_TRIES 4
#define BRACKET_NS    2000  /* a pair of reads further apart than this was interrupted */
#define STEP_NS	      20000 /* below it: error of the bracket */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t icmp_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t icmp_clock_offset_ns(void)
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
	return offset;
}

/* Whether the wall clock was stepped since the last call; what is read now may have been stamped before or
 * after. */
bool icmp_check_clock(struct icmp_socket *sock)
{
	int64_t offset = icmp_clock_offset_ns();
	int64_t moved = offset - sock->clock_offset_ns;

	if (moved < STEP_NS && moved > -STEP_NS)
		return false;
	/* An interrupted bracket looks like a step once, not twice. */
	offset = icmp_clock_offset_ns();
	moved = offset - sock->clock_offset_ns;
	if (moved < STEP_NS && moved > -STEP_NS)
		return false;
	sock->clock_offset_ns = offset;
	sock->clock_steps++;
	return true;
}
