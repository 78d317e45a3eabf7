/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May `peer` talk to `subject`? The same evaluation as packages/ebpf-l4/src/evaluate.ts, which explains it to people.
 *
 * A deny rule wins over every allow rule; without any, an isolated subject denies and another one allows. Cost: four
 * lookups for each size of port block that the subject's rules use, two sizes in practice (one port, any port),
 * whatever the number of policies.
 */
#ifndef PILLION_POLICY_H
#define PILLION_POLICY_H

#include "common.h"

struct judgement {
	__u32 allowed;
	__u32 rule;
};

/*
 * Kernels before 6.8 refuse a loop whose last instruction falls through to its first: they want to see a jump. Clang lays
 * out the blocks either way.
 */
static __always_inline int by_jump(int next)
{
	asm volatile("goto +0" : "+r"(next));
	return next;
}

#define JUDGED_ALLOW (1ull << 32)

/*
 * JUDGED_ALLOW or 0, and the rule. A global function: the verifier walks its loops once a program and not once a call, a
 * second less at every start. Numbers only: before 5.13 such a function takes no pointers, before 6.2 none as a key.
 */
__noinline __u64 judge_numbers(__u32 who, __u32 peer, __u32 direction, __u32 protocol, __u32 port)
{
	struct subject_key subject_key = { .identity = who, .direction = direction };
	struct rule_key key = { .subject = who, .direction = direction };
	__u64 judged = JUDGED_ALLOW;
	struct subject *subject;

	subject = bpf_map_lookup_elem(&pl_subjects, &subject_key);
	if (!subject)
		return judged;
	if (subject->isolated)
		judged = subject->isolation_rule;
	for (int bits = 16; bits >= 0; bits = by_jump(bits - 1)) {
		if (!(subject->port_blocks & (1u << bits)))
			continue;
		key.port_bits = bits;
		key.port = port & (__u16)(0xffff0000u >> bits);
		for (int wild = 0; wild < 4; wild++) {
			struct rule *rule;

			key.peer = wild & 1 ? IDENTITY_ANY : peer;
			key.protocol = wild & 2 ? 0 : protocol;
			rule = bpf_map_lookup_elem(&pl_rules, &key);
			if (!rule)
				continue;
			if (rule->verdict == VERDICT_DENY)
				return rule->rule;
			judged = JUDGED_ALLOW | rule->rule;
			if (!subject->has_deny)
				return judged;
		}
	}
	return judged;
}

static __always_inline void judge(const struct rule_key *key, struct judgement *out)
{
	__u64 judged = judge_numbers(key->subject, key->peer, key->direction, key->protocol, key->port);

	out->allowed = !!(judged & JUDGED_ALLOW);
	out->rule = judged;
}

struct verdict_of {
	__u32 allowed;
	__u32 rule;
	__u32 direction; /* whose policy refused */
};

/* Outside of the cluster: where nobody of ours judges what arrives. */
static __always_inline bool is_outside(__u32 identity)
{
	return identity == IDENTITY_WORLD || identity & IDENTITY_BIT_CIDR;
}

/*
 * Both policies that a connection meets: egress of the source, ingress of the destination. The node's own processes may
 * always reach their pods: Kubernetes wants the kubelet's probes to pass. Processes of other nodes are judged like
 * anybody; a proxy among them says for whom it connects (behalf.h).
 */
static __always_inline void judge_both(__u32 src, __u32 dst, __u8 protocol, __u16 port, struct verdict_of *out)
{
	const struct settings *config = settings();
	struct judgement judgement = { .allowed = 1 };
	struct rule_key key = {
		.subject = src, .peer = dst, .direction = DIRECTION_EGRESS, .protocol = protocol, .port = port
	};

	out->direction = DIRECTION_EGRESS;
	out->allowed = 1;
	out->rule = 0;
	if (!config || !config->has_policy)
		return;
	judge(&key, &judgement);
	if (judgement.allowed && src != IDENTITY_HOST) {
		struct rule_key back = {
			.subject = dst, .peer = src, .direction = DIRECTION_INGRESS, .protocol = protocol, .port = port
		};

		out->direction = DIRECTION_INGRESS;
		judge(&back, &judgement);
	}
	out->allowed = judgement.allowed;
	out->rule = judgement.rule;
}

#endif
