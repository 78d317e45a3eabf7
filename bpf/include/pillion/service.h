/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Service address to backend: three hash lookups and one random number, whatever the number of services. */
#ifndef PILLION_SERVICE_H
#define PILLION_SERVICE_H

#include "common.h"
#include "identity.h"

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
 * The service at `key`, or 0 with `info` saying who is there instead. A port of a node's own address may be a node port:
 * those are entries of the unspecified address, one for all nodes.
 */
static __always_inline struct service *service_at(struct service_key *key, struct addr_info *info)
{
	struct service *service = bpf_map_lookup_elem(&pl_services, key);

	if (service)
		return service;
	*info = who_is_at(&key->addr);
	if (!(info->flags & ADDR_NODE))
		return 0;
	if (addr_is_ip4(&key->addr))
		addr_from_ip4(&key->addr, 0);
	else
		__builtin_memset(&key->addr, 0, sizeof(key->addr));
	return bpf_map_lookup_elem(&pl_services, key);
}

/*
 * A weighted random choice by the alias method. The agent writes all slots of a new set, then the service, then removes
 * the old slots: a reader that saw the service just before finds no slot and reads the service again. Puts the number
 * of the backend into `number`.
 */
static __always_inline struct backend *balance(struct service *service, struct service_key *key, __u32 *number)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		struct slot_key slot_key = {};
		struct backend *backend;
		struct slot *slot;

		if (!service || !service->slots)
			return 0;
		slot_key.set = service->set;
		slot_key.slot = ((__u64)bpf_get_prandom_u32() * service->slots) >> 32;
		slot = bpf_map_lookup_elem(&pl_slots, &slot_key);
		if (!slot) {
			service = bpf_map_lookup_elem(&pl_services, key);
			continue;
		}
		*number = bpf_get_prandom_u32() < slot->threshold ? slot->primary : slot->alias;
		backend = bpf_map_lookup_elem(&pl_backends, number);
		if (backend)
			return backend;
	}
	return 0;
}

/* Session affinity: the backend that this client used last, if that was not too long ago and it is still one. */
static __always_inline struct backend *last_backend(const struct service *service, const struct affinity_key *key,
						    __u32 *number)
{
	struct affinity *last = bpf_map_lookup_elem(&pl_affinity, key);
	struct member_key member = { .set = service->set };
	__u64 now = bpf_ktime_get_ns();

	if (!last || (__s64)(now - last->used_ns) > (__s64)service->affinity_s * 1000000000ll)
		return 0;
	member.backend = last->backend;
	if (!bpf_map_lookup_elem(&pl_members, &member))
		return 0;
	last->used_ns = now;
	*number = member.backend;
	return bpf_map_lookup_elem(&pl_backends, number);
}

static __always_inline struct backend *choose_backend(struct service *service, struct service_key *key, __u64 client,
						      __u32 *number)
{
	struct affinity_key affinity_key = {};
	struct affinity affinity = {};
	struct backend *backend;

	if (!service->affinity_s)
		return balance(service, key, number);
	affinity_key.client = client;
	affinity_key.service = service->id;
	affinity_key.ip6 = !addr_is_ip4(&key->addr);
	backend = last_backend(service, &affinity_key, number);
	if (backend)
		return backend;
	backend = balance(service, key, number);
	if (!backend)
		return 0;
	affinity.used_ns = bpf_ktime_get_ns();
	affinity.backend = *number;
	bpf_map_update_elem(&pl_affinity, &affinity_key, &affinity, BPF_ANY);
	return backend;
}

/*
 * A socket that is not connected stays with its backend while it keeps sending, as it would behind conntrack: a protocol
 * that needs more than one datagram is spoken to one server.
 */
static __always_inline struct backend *same_backend(const struct service *service, const struct udp_key *key,
						    __u32 *number)
{
	struct udp_peer *last = bpf_map_lookup_elem(&pl_udp_peers, key);
	struct member_key member = { .set = service->set };

	if (!last || !last->backend || !is_recent(last->sent_ns))
		return 0;
	member.backend = last->backend;
	if (!bpf_map_lookup_elem(&pl_members, &member))
		return 0;
	last->sent_ns = bpf_ktime_get_ns();
	*number = member.backend;
	return bpf_map_lookup_elem(&pl_backends, number);
}

/* `asked`: the socket, and the address of the service as it was written. */
static __always_inline struct backend *datagram_backend(struct service *service, struct service_key *service_key,
							const struct udp_key *asked, __u64 client, __u32 *number)
{
	struct backend *backend = same_backend(service, asked, number);
	struct udp_peer choice = {};

	if (backend)
		return backend;
	backend = choose_backend(service, service_key, client, number);
	if (!backend)
		return 0;
	choice.addr = backend->addr;
	choice.port = backend->port;
	choice.backend = *number;
	choice.sent_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&pl_udp_peers, asked, &choice, BPF_ANY);
	return backend;
}

#endif
