/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is acceleration worth its price? Entering and leaving the sockhash costs a connection about as much as TCP costs a few
 * messages: nothing, unless there are many. So while short connections between the same identities and port come in
 * numbers, the next are taken for short. Both ends look at the same entry; one that carries more is believed at once
 * (decision 0009). A stream that TCP carried for want of answers would have been carried better by a socket that is not
 * in the sockhash: the next ones are left out for a while, then one is tried again.
 */
#ifndef PILLION_HABIT_H
#define PILLION_HABIT_H

#include "flow.h"

/* A connection with fewer messages of its client is short. */
#define SHORT_MESSAGES 4
/* So many of them in such a time make a habit, which lasts for so long after the last. */
#define SHORT_COUNT 64
#define SHORT_WINDOW_NS 100000000ull
#define SHORT_HABIT_NS 1000000000ull
/* So much by TCP, and so many times what went past it, is a stream. */
#define STREAM_BYTES (1 << 20)
#define STREAM_SHARE 8
#define STREAM_HABIT_NS 10000000000ull

/* Should TCP carry the next one? */
static __always_inline bool tcp_by_habit(__u32 src, __u32 dst, __u16 port)
{
	struct habit_key key = { .src_identity = src, .dst_identity = dst, .port = port };
	struct habit *habit = bpf_map_lookup_elem(&pl_habits, &key);
	__u64 now;

	if (!habit || (!habit->until_ns && !habit->stream_until_ns))
		return false;
	now = bpf_ktime_get_ns();
	return now < habit->until_ns || now < habit->stream_until_ns;
}

/* At the end of either side of an accelerated connection. */
static __always_inline void learn_stream(const struct socket *socket, const struct flow_key *flow, __u64 by_tcp,
					 __u64 past_tcp)
{
	struct habit_key key = {
		.src_identity = socket->src_identity,
		.dst_identity = socket->dst_identity,
		.port = socket->flags & SOCKET_PASSIVE ? flow->local_port : flow->remote_port,
	};
	struct habit *habit, first = {};

	/* A stream begins past TCP. With nothing past it the other end was never in the sockhash: no experience at all. */
	if (!past_tcp || by_tcp < STREAM_BYTES || by_tcp < past_tcp * STREAM_SHARE)
		return;
	first.since_ns = bpf_ktime_get_ns();
	first.stream_until_ns = first.since_ns + STREAM_HABIT_NS;
	habit = bpf_map_lookup_elem(&pl_habits, &key);
	if (habit)
		habit->stream_until_ns = first.stream_until_ns;
	else
		bpf_map_update_elem(&pl_habits, &key, &first, BPF_NOEXIST);
}

/* On the connecting side, at the end. Entries are made by the first short connection only. */
static __always_inline void learn_habit(const struct socket *socket, const struct flow_key *flow, __u32 messages)
{
	struct habit_key key = {
		.src_identity = socket->src_identity,
		.dst_identity = socket->dst_identity,
		.port = flow->remote_port,
	};
	struct habit *habit = bpf_map_lookup_elem(&pl_habits, &key);
	__u64 now = bpf_ktime_get_ns();
	struct habit first = { .since_ns = now, .shorts = 1 };

	if (messages >= SHORT_MESSAGES) {
		if (habit && habit->until_ns)
			habit->until_ns = 0;
		return;
	}
	if (!habit) {
		bpf_map_update_elem(&pl_habits, &key, &first, BPF_NOEXIST);
		return;
	}
	if (now - habit->since_ns > SHORT_WINDOW_NS) {
		habit->since_ns = now;
		habit->shorts = 0;
	}
	habit->shorts++;
	if (habit->shorts >= SHORT_COUNT)
		habit->until_ns = now + SHORT_HABIT_NS;
}

#endif
