/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* When a packet came. */
#ifndef CILIATE_PROBE_TIME_H
#define CILIATE_PROBE_TIME_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SECOND_NS  1000000000ull
#define AGE_MAX_NS 10000000ull

/*
 * When the packet came to the host: it may have waited for others since. The kernel's stamp is of the wall
 * clock, and TAI is that by whole seconds. An age beyond all queues, or more than since the probe left, is of
 * a clock that was set meanwhile.
 */
static __always_inline __u64 arrived_ns(const struct __sk_buff *ctx, __u64 sent_ns)
{
	__u64 stamp_ns = ctx->tstamp, tai_ns, now_ns, age_ns;

	if (!stamp_ns)
		return bpf_ktime_get_ns();
	tai_ns = bpf_ktime_get_tai_ns();
	/* Second: an interrupt between the two makes the packet later, never earlier than it was. */
	now_ns = bpf_ktime_get_ns();
	age_ns = (tai_ns - stamp_ns) % SECOND_NS;
	return age_ns < AGE_MAX_NS && now_ns - age_ns >= sent_ns ? now_ns - age_ns : now_ns;
}

#endif
