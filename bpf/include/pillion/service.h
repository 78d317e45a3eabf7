/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Service address to backend: three hash lookups and one random number, whatever the number of services. */
#ifndef PILLION_SERVICE_H
#define PILLION_SERVICE_H

#include "common.h"

/* A proxy that was silent for this long is dead (design 4.7). Written by the loader. */
const volatile __u64 config_deadman_ns = 400000000;

static __always_inline bool proxy_serves(void)
{
	__u32 zero = 0;
	struct proxy *proxy = bpf_map_lookup_elem(&pl_proxy, &zero);

	/* Signed: a heartbeat that another CPU writes between the two reads is in the future. */
	return proxy && proxy->state == PROXY_SERVING &&
	       (__s64)(bpf_ktime_get_ns() - proxy->heartbeat_ns) < (__s64)config_deadman_ns;
}

/*
 * A weighted random choice by the alias method. The agent writes all slots of a new generation, then the service, then
 * removes the old slots: a reader that saw the service just before finds no slot and reads the service again.
 */
static __always_inline struct backend *choose_backend(struct service *service, struct service_key *key)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		struct slot_key slot_key = {};
		struct backend *backend;
		struct slot *slot;
		__u32 number;

		if (!service || !service->slots)
			return 0;
		slot_key.service = service->id;
		slot_key.generation = service->generation;
		slot_key.slot = ((__u64)bpf_get_prandom_u32() * service->slots) >> 32;
		slot = bpf_map_lookup_elem(&pl_slots, &slot_key);
		if (!slot) {
			service = bpf_map_lookup_elem(&pl_services, key);
			continue;
		}
		number = bpf_get_prandom_u32() < slot->threshold ? slot->primary : slot->alias;
		backend = bpf_map_lookup_elem(&pl_backends, &number);
		if (backend)
			return backend;
	}
	return 0;
}

#endif
