// SPDX-License-Identifier: Apache-2.0
/* What the addon's tests load: one map of each kind, constants, and programs small enough to predict. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

enum colour { RED = 1, GREEN = 2 };

struct sample_key {
	__u32 id;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

struct sample_value {
	__u64 packets;
	char name[8];
	__u8 mac[6];
	__s16 delta;
	__u32 low : 4, high : 28;
	enum colour colour;
	union {
		__be32 ip4;
		__u8 raw[4];
	};
};

struct lpm_key {
	__u32 bits;
	__u8 address[4];
};

/* key: id; value: what the decoder's test writes */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct sample_key);
	__type(value, struct sample_value);
} samples SEC(".maps");

/* key: 0; value: packets seen on a CPU; written by count */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} counters SEC(".maps");

/* key: prefix; value: its number */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lpm_key);
	__type(value, __u32);
} prefixes SEC(".maps");

/* key: slot; value: an array of one u32; its shape is set before load */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} outer SEC(".maps");

/* records of emit: u32 serial each */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096 * 64);
} events SEC(".maps");

volatile const __u32 answer = 1;
volatile const __u64 wide = 2;
__u32 serial = 0;

SEC("tc")
int constant(struct __sk_buff *skb)
{
	return answer;
}

SEC("tc")
int count(struct __sk_buff *skb)
{
	__u32 zero = 0, *counter = bpf_map_lookup_elem(&counters, &zero);

	if (counter)
		*counter += 1;
	skb->mark = skb->mark + 1;
	return wide > 2 ? 7 : -1;
}

SEC("tc")
int inner(struct __sk_buff *skb)
{
	__u32 zero = 0, slot = skb->mark, *value;
	void *map = bpf_map_lookup_elem(&outer, &slot);

	if (!map)
		return -1;
	value = bpf_map_lookup_elem(map, &zero);
	return value ? *value : -2;
}

SEC("tc")
int emit(struct __sk_buff *skb)
{
	__u32 number = __sync_fetch_and_add(&serial, 1);

	return bpf_ringbuf_output(&events, &number, sizeof(number),
				  skb->mark ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP);
}

SEC("cgroup_skb/egress")
int pass(struct __sk_buff *skb)
{
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
