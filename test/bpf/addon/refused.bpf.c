// SPDX-License-Identifier: Apache-2.0
/* A program that the verifier must refuse: it reads the packet without a bounds check. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int reads_unchecked(struct __sk_buff *skb)
{
	char *data = (char *)(long)skb->data;

	return data[100];
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
