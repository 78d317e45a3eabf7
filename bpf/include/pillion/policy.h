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
 * A global function: the verifier walks its loops once a program and not once a call, a second less at every start. The
 * price is that it cannot know that the pointers are never NULL.
 */
__noinline int judge(struct rule_key *key, struct judgement *out)
{
	struct subject_key subject_key = {};
	struct subject *subject;
	__u8 protocol;
	__u32 peer;
	__u16 port;

	if (!key || !out)
		return 0;
	subject_key.identity = key->subject;
	subject_key.direction = key->direction;
	peer = key->peer;
	port = key->port;
	protocol = key->protocol;
	subject = bpf_map_lookup_elem(&pl_subjects, &subject_key);

	out->allowed = 1;
	out->rule = 0;
	if (!subject)
		return 0;
	if (subject->isolated) {
		out->allowed = 0;
		out->rule = subject->isolation_rule;
	}
	for (int bits = 16; bits >= 0; bits--) {
		if (!(subject->port_blocks & (1u << bits)))
			continue;
		key->port_bits = bits;
		key->port = port & (__u16)(0xffff0000u >> bits);
		for (int wild = 0; wild < 4; wild++) {
			struct rule *rule;

			key->peer = wild & 1 ? IDENTITY_ANY : peer;
			key->protocol = wild & 2 ? 0 : protocol;
			rule = bpf_map_lookup_elem(&pl_rules, key);
			if (!rule)
				continue;
			if (rule->verdict == VERDICT_DENY) {
				out->allowed = 0;
				out->rule = rule->rule;
				return 0;
			}
			out->allowed = 1;
			out->rule = rule->rule;
			if (!subject->has_deny)
				return 0;
		}
	}
	return 0;
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
