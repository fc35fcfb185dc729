/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel stamps are CLOCK_REALTIME, which can be set while a probe is under way. Realtime and monotonic run
 * at the same rate, so their distance changes only when the wall clock is stepped: stamps are moved to
 * monotonic by that distance.
 */
#ifndef CILIATE_PROBE_CLOCK_H
#define CILIATE_PROBE_CLOCK_H

#include <stdint.h>

#define NS_PER_SECOND 1000000000ull

/* CLOCK_MONOTONIC, ns. */
uint64_t probe_now_ns(void);

/* CLOCK_REALTIME - CLOCK_MONOTONIC, known to within `width_ns`. */
int64_t probe_clock_offset_ns(uint64_t *width_ns);

#endif
