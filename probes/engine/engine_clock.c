// SPDX-License-Identifier: Apache-2.0
/* Follows the distance of the two clocks; see clock.h. */
#include "engine.h"

#define STEP_NS	   1000000 /* less is the slewing of a clock that is kept right */
#define TRUSTED_NS 5000	   /* width of a bracket that is worth following */

/* Whether the wall clock was stepped since the last call; what is read now may have been stamped before it.
 */
bool engine_check_clock(struct engine *engine)
{
	uint64_t width_ns;
	int64_t offset = probe_clock_offset_ns(&width_ns);
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
