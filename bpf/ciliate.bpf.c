/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one object: every hook, loaded once a node, attached many times. */
#include "bpf_lxc.c"
#include "bpf_netdev.c"
#include "bpf_host.c"

/*
 * Run by user space with BPF_PROG_TEST_RUN: notes both clocks at one instant, so that conntrack's ticks can
 * be converted.
 */
SEC("tc")
int clock(struct __sk_buff *ctx)
{
	struct config *config = config_get();

	if (!config)
		return VERDICT_DROP;
	config->jiffies = bpf_jiffies64();
	config->monotonic_ns = bpf_ktime_get_ns();
	return VERDICT_PASS;
}

/* The floor of every measurement by BPF_PROG_TEST_RUN. */
SEC("tc")
int empty(struct __sk_buff *ctx)
{
	return VERDICT_PASS;
}

/*
 * Layouts that no map of the object names directly (of inner maps, and of the ring buffer's records):
 * mentioned here so that the object's BTF describes them whole.
 */
const struct {
	struct policy_key policy_key;
	struct policy_entry policy_entry;
	struct event event;
} layouts = {};

char LICENSE[] SEC("license") = "Dual BSD/GPL";
