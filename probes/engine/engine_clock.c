// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's socket stamps are CLOCK_REALTIME, which can be set while a probe is under way. They are moved
 * to CLOCK_MONOTONIC by the distance of the two clocks, which changes only when the wall clock is stepped.
 */
#include "engine.h"

#include <time.h>

#define BRACKET_TRIES 4
#define BRACKET_NS    2000    /* a pair of reads further apart than this was interrupted */
#define STEP_NS	      1000000 /* less is the slewing of a clock that is kept right */
#define TRUSTED_NS    5000    /* width of a bracket that is worth following */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t engine_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Wall clock minus monotonic clock, known to within `width_ns`. */
int64_t engine_clock_offset_ns(uint64_t *width_ns)
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

/* Whether the wall clock was stepped since the last call; what is read now may have been stamped before it.
 */
bool engine_check_clock(struct engine *engine)
{
	uint64_t width_ns;
	int64_t offset = engine_clock_offset_ns(&width_ns);
	int64_t moved = offset - engine->clock_offset_ns;

	if (moved >= (int64_t)(STEP_NS + width_ns) || moved <= -(int64_t)(STEP_NS + width_ns)) {
		engine->clock_offset_ns = offset;
		engine_count(engine, SELF_CLOCK_STEPS, 1);
		return true;
	}
	if (width_ns <= TRUSTED_NS)
		engine->clock_offset_ns = offset;
	return false;
}
