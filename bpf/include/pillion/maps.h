/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, in the order of bpf/README.md. All are pinned by name, so the objects of one node share them and a new
 * build adopts them. Policy and services live in plain hashes: an eviction would be a wrong verdict. Only memory of
 * peers that can be asked again is LRU.
 */
#ifndef PILLION_MAPS_H
#define PILLION_MAPS_H

#define PILLION_MAP(_name, _type, _key, _value, _max, _flags)                                                          \
	struct {                                                                                                       \
		__uint(type, _type);                                                                                   \
		__uint(max_entries, _max);                                                                             \
		__uint(map_flags, _flags);                                                                             \
		__uint(pinning, LIBBPF_PIN_BY_NAME);                                                                   \
		__type(key, _key);                                                                                     \
		__type(value, _value);                                                                                 \
	} _name SEC(".maps")

PILLION_MAP(pl_settings, BPF_MAP_TYPE_ARRAY, __u32, struct settings, 1, 0);
PILLION_MAP(pl_proxy, BPF_MAP_TYPE_ARRAY, __u32, struct proxy, 1, 0);
PILLION_MAP(pl_cgroups, BPF_MAP_TYPE_HASH, __u64, struct workload, 4096, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_addresses, BPF_MAP_TYPE_LPM_TRIE, struct addr_key, struct addr_info, 262144, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_services, BPF_MAP_TYPE_HASH, struct service_key, struct service, 65536, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_slots, BPF_MAP_TYPE_HASH, struct slot_key, struct slot, 524288, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_backends, BPF_MAP_TYPE_HASH, __u32, struct backend, 262144, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_members, BPF_MAP_TYPE_HASH, struct member_key, struct member, 262144, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_affinity, BPF_MAP_TYPE_LRU_HASH, struct affinity_key, struct affinity, 65536, 0);
PILLION_MAP(pl_subjects, BPF_MAP_TYPE_HASH, struct subject_key, struct subject, 65536, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_rules, BPF_MAP_TYPE_HASH, struct rule_key, struct rule, 524288, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_shadow, BPF_MAP_TYPE_LRU_HASH, struct shadow_key, struct shadow, 8192, 0);
PILLION_MAP(pl_executables, BPF_MAP_TYPE_LRU_HASH, struct exe_key, struct exe, 4096, 0);
PILLION_MAP(pl_listen_exes, BPF_MAP_TYPE_HASH, struct listen_key, struct listen_exe, 16384, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_origins, BPF_MAP_TYPE_HASH, struct origin_key, struct origin, 65536, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_udp_peers, BPF_MAP_TYPE_LRU_HASH, struct udp_key, struct udp_peer, 65536, 0);
PILLION_MAP(pl_flows, BPF_MAP_TYPE_HASH, __u64, struct flow, 65536, BPF_F_NO_PREALLOC);
/* Ends of accelerated connections that have not met their other end: four-tuple -> cookie. */
PILLION_MAP(pl_pairing, BPF_MAP_TYPE_HASH, struct flow_key, __u64, 65536, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_habits, BPF_MAP_TYPE_LRU_HASH, struct habit_key, struct habit, 8192, 0);
PILLION_MAP(pl_traffic, BPF_MAP_TYPE_HASH, struct traffic_key, struct traffic, 16384, BPF_F_NO_PREALLOC);
/* By address of the struct sock: TCP sockets that connect. Made in connect, removed when the socket is closed. */
PILLION_MAP(pl_connections, BPF_MAP_TYPE_HASH, __u64, struct socket, 262144, BPF_F_NO_PREALLOC);
PILLION_MAP(pl_counters, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, COUNTER_COUNT, 0);

/* Per-socket memory, freed by the kernel with the socket: UDP and accepted TCP. */
PILLION_MAP(pl_sockets, BPF_MAP_TYPE_SK_STORAGE, int, struct socket, 0, BPF_F_NO_PREALLOC);
/* On a socket with which the proxy will connect. */
PILLION_MAP(pl_on_behalf_of, BPF_MAP_TYPE_SK_STORAGE, int, struct on_behalf_of, 0, BPF_F_NO_PREALLOC);
/* On a socket that the proxy accepted. */
PILLION_MAP(pl_sock_origin, BPF_MAP_TYPE_SK_STORAGE, int, struct origin, 0, BPF_F_NO_PREALLOC);
/* Marks the proxy's listening sockets. Not cloned to what they accept: every closed connection would end the proxy. */
PILLION_MAP(pl_listeners, BPF_MAP_TYPE_SK_STORAGE, int, struct heartbeat, 0, BPF_F_NO_PREALLOC);

/* By cookie: a number that no other socket ever gets, however soon this one is gone. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u64);
	__type(value, __u32);
} pl_sockhash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} pl_events SEC(".maps");

#endif
