/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who is who: a local process by its cgroup, anyone else by address. */
#ifndef PILLION_IDENTITY_H
#define PILLION_IDENTITY_H

#include "common.h"

/*
 * Depth of the cgroup that the programs are attached to, and how much deeper a container may be: node / kubepods / QoS
 * class / pod / container. Written by the loader.
 */
const volatile __u32 config_cgroup_level = 1;
#define CGROUP_DEPTH 6

struct who {
	__u64 cgroup;
	__u32 identity;
	__u32 proxy;
	__u32 on_behalf_of; /* of a socket of the proxy: its client; otherwise 0 */
};

/*
 * The deepest registered ancestor decides: a container finds its pod, an unregistered pod finds the cgroup of all pods
 * (unmanaged), a host process finds the node's. `ancestor(level)` answers 0 below the process's own depth.
 */
#define WHO(_who, _ancestor)                                                                                           \
	do {                                                                                                           \
		(_who)->cgroup = 0;                                                                                    \
		(_who)->identity = IDENTITY_HOST;                                                                      \
		(_who)->on_behalf_of = 0;                                                                              \
		(_who)->proxy = 0;                                                                                     \
		for (int depth = CGROUP_DEPTH; depth >= 0; depth--) {                                                  \
			__u64 id = _ancestor((int)config_cgroup_level + depth);                                        \
			struct workload *workload = id ? bpf_map_lookup_elem(&pl_cgroups, &id) : 0;                    \
			if (!workload)                                                                                 \
				continue;                                                                              \
			(_who)->cgroup = id;                                                                           \
			(_who)->identity = workload->identity;                                                         \
			(_who)->proxy = workload->proxy;                                                               \
			break;                                                                                         \
		}                                                                                                      \
	} while (0)

static __always_inline void who_is_current(struct who *who)
{
	WHO(who, bpf_get_current_ancestor_cgroup_id);
}

static __always_inline void who_owns_skb(struct who *who, struct __sk_buff *skb)
{
#define SKB_ANCESTOR(level) bpf_skb_ancestor_cgroup_id(skb, level)
	WHO(who, SKB_ANCESTOR);
#undef SKB_ANCESTOR
}

/* An address that nobody announced is the world's. */
static __always_inline struct addr_info who_is_at(const struct addr *addr)
{
	struct addr_key key = { .prefix_length = 128, .addr = *addr };
	struct addr_info *info = bpf_map_lookup_elem(&pl_addresses, &key);
	struct addr_info world = { .identity = IDENTITY_WORLD };

	return info ? *info : world;
}

#endif
