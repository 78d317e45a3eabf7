/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sums by who talks to whom. What the proxy carries is counted there, request by request, and not here. */
#ifndef PILLION_TRAFFIC_H
#define PILLION_TRAFFIC_H

#include "telemetry.h"

static __always_inline struct traffic *traffic_of(const struct socket *socket)
{
	struct traffic_key key = {
		.src_identity = socket->src_identity,
		.dst_identity = socket->dst_identity,
		.service = socket->service_id,
		.passive = socket->flags & SOCKET_PASSIVE ? 1 : 0,
	};
	struct traffic *sums, none = {};

	if (config_telemetry < TELEMETRY_SUMS || socket->flags & SOCKET_L7 || socket->on_behalf_of)
		return 0;
	sums = bpf_map_lookup_elem(&pl_traffic, &key);
	if (sums)
		return sums;
	bpf_map_update_elem(&pl_traffic, &key, &none, BPF_NOEXIST);
	sums = bpf_map_lookup_elem(&pl_traffic, &key);
	if (!sums)
		count(COUNTER_MAP_FULL);
	return sums;
}

static __always_inline void add(__u64 *sum, __u64 value)
{
	__sync_fetch_and_add(sum, value);
}

#endif
