// SPDX-License-Identifier: Apache-2.0
/* Replaces the distance of the two clocks when a step was seen; see clock.h. */
#include "icmp.h"

#define STEP_NS 20000 /* below it: error of the bracket */

/* Whether the wall clock was stepped since the last call; what is read now may have been stamped before or
 * after. */
bool icmp_check_clock(struct icmp_socket *sock)
{
	uint64_t width_ns;
	int64_t offset = probe_clock_offset_ns(&width_ns);
	int64_t moved = offset - sock->clock_offset_ns;

	if (moved < STEP_NS && moved > -STEP_NS)
		return false;
	/* An interrupted bracket looks like a step once, not twice. */
	offset = probe_clock_offset_ns(&width_ns);
	moved = offset - sock->clock_offset_ns;
	if (moved < STEP_NS && moved > -STEP_NS)
		return false;
	sock->clock_offset_ns = offset;
	sock->clock_steps++;
	return true;
}
