// SPDX-License-Identifier: Apache-2.0
/* Follows the distance of the two clocks; see clock.h. */
#include "engine.h"

#define STEP_NS	   1000000 /* less is the slewing of a clock that is kept right */
#define SLEW_SHARE 1000	   /* which moves at most this part of the time: adjtimex(2), and adjtime(3) on top */
#define TRUSTED_NS 5000	   /* width of a bracket that is worth following */

/*
 * Follows the wall clock. When it was stepped since the last call, no stamp of what is queued can be
 * believed: it may be of either side. Called after each read, before its stamps are used; engine_drain ends
 * the doubt.
 */
void engine_check_clock(struct engine *engine)
{
	uint64_t width_ns, now_ns = probe_now_ns();
	int64_t offset = probe_clock_offset_ns(&width_ns);
	int64_t moved = offset - engine->clock_offset_ns;
	int64_t most = (int64_t)(STEP_NS + width_ns + (now_ns - engine->clock_checked_ns) / SLEW_SHARE);

	engine->clock_checked_ns = now_ns;
	if (moved >= most || moved <= -most) {
		engine->clock_offset_ns = offset;
		engine->clock_doubt = true;
		engine_count(engine, SELF_CLOCK_STEPS, 1);
	} else if (width_ns <= TRUSTED_NS) {
		engine->clock_offset_ns = offset;
	}
}
