/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is acceleration worth its price? Entering and leaving the sockhash costs a connection about as much as TCP costs a few
 * messages. Whether the next one will carry enough is guessed from the last ones between the same identities and port:
 * both ends look at the same entry, and a connection that carries more is believed at once (decision 0009).
 */
#ifndef PILLION_HABIT_H
#define PILLION_HABIT_H

#include "flow.h"

/* A connection with fewer messages of its client is short; after so many short ones in a row the next is not accelerated. */
#define SHORT_MESSAGES 4
#define SHORT_RUN 8

static __always_inline bool short_by_habit(__u32 src, __u32 dst, __u16 port)
{
	struct habit_key key = { .src_identity = src, .dst_identity = dst, .port = port };
	struct habit *habit = bpf_map_lookup_elem(&pl_habits, &key);

	return habit && habit->short_run >= SHORT_RUN;
}

/* On the connecting side, at the end. Entries are made by the first short connection only. */
static __always_inline void learn_habit(const struct socket *socket, const struct flow_key *flow, __u32 messages)
{
	struct habit_key key = { .src_identity = socket->src_identity,
				 .dst_identity = socket->dst_identity,
				 .port = flow->remote_port };
	struct habit *habit = bpf_map_lookup_elem(&pl_habits, &key);
	bool brief = messages < SHORT_MESSAGES;
	struct habit first = { .short_run = 1 };

	if (habit && !brief)
		habit->short_run = 0;
	else if (habit && habit->short_run < SHORT_RUN)
		habit->short_run++;
	else if (!habit && brief)
		bpf_map_update_elem(&pl_habits, &key, &first, BPF_NOEXIST);
}

#endif
