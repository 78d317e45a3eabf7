/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Policies in Shadow mode: what they would have denied is counted, and let through. Asked only about what the policies in
 * force allow, where a connection begins: by connect for both directions if the destination is on this node, by the
 * destination for its own ingress if the source is not.
 */
#ifndef PILLION_SHADOW_H
#define PILLION_SHADOW_H

#include "event.h"
#include "policy.h"

static __always_inline bool has_shadow(void)
{
	const struct settings *config = settings();

	return config && config->has_shadow;
}

struct attempt {
	struct addr src; /* unspecified: not known yet */
	struct addr dst;
	__u64 cookie;
	__u32 src_identity;
	__u32 dst_identity;
	__u16 port; /* of the destination, host order */
	__u8 protocol;
	__u8 ingress; /* ask the destination's policy as well */
};

/* 1: told. */
static __noinline int count_shadow(struct attempt *attempt, struct rule_key *asked, __u32 rule)
{
	struct shadow_key key = {};
	struct shadow *known, first = { .count = 1, .last_ns = bpf_ktime_get_ns() };
	struct flow_event *event;

	if (!attempt || !asked)
		return 0;
	count(COUNTER_SHADOW_DENY);
	key.rule = rule;
	key.src_identity = attempt->src_identity;
	key.dst_identity = attempt->dst_identity;
	key.port = attempt->port;
	key.protocol = attempt->protocol;
	key.direction = asked->direction == DIRECTION_SHADOW_EGRESS ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	known = bpf_map_lookup_elem(&pl_shadow, &key);
	if (known) {
		__sync_fetch_and_add(&known->count, 1);
		known->last_ns = first.last_ns;
		return 1;
	}
	bpf_map_update_elem(&pl_shadow, &key, &first, BPF_NOEXIST);
	event = event_reserve(EVENT_DENY);
	if (!event)
		return 1;
	event->cookie = attempt->cookie;
	event->src = attempt->src;
	event->dst = attempt->dst;
	event->dst_port = bpf_htons(attempt->port);
	event->protocol = attempt->protocol;
	event->src_identity = attempt->src_identity;
	event->dst_identity = attempt->dst_identity;
	event->rule = rule;
	event->direction = key.direction;
	event->flags = EVENT_F_SHADOW;
	event_submit(event);
	return 1;
}

static __always_inline bool shadow_denies(struct attempt *attempt, __u32 subject, __u32 peer, __u8 direction)
{
	struct judgement judgement = { .allowed = 1 };
	struct rule_key key = { .subject = subject,
				.peer = peer,
				.direction = direction,
				.protocol = attempt->protocol,
				.port = attempt->port };

	judge(&key, &judgement);
	if (judgement.allowed)
		return false;
	count_shadow(attempt, &key, judgement.rule);
	return true;
}

static __always_inline void judge_shadow(struct attempt *attempt)
{
	__u32 src = attempt->src_identity, dst = attempt->dst_identity;

	if (shadow_denies(attempt, src, dst, DIRECTION_SHADOW_EGRESS))
		return;
	if (attempt->ingress && src != IDENTITY_HOST)
		shadow_denies(attempt, dst, src, DIRECTION_SHADOW_INGRESS);
}

#endif
