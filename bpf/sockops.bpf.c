/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a TCP connection: who owns it, when it opens and closes, whether it may be accelerated.
 *
 * Hook: sockops. Reads: pl_sockets, pl_addresses, pl_sock_exe, pl_executables, pl_settings. Writes: pl_sockets,
 * pl_origins, pl_sockhash, pl_flows, pl_events, pl_counters. Returns: 1 (the reply field is never used).
 */
#include "include/pillion/event.h"
#include "include/pillion/flow.h"
#include "include/pillion/identity.h"

#define TCP_CLOSE 7

static __always_inline void flow_key_of(struct bpf_sock_ops *ctx, struct flow_key *key)
{
	if (ctx->family == AF_INET) {
		addr_from_ip4(&key->local, CTX_READ(ctx, local_ip4));
		addr_from_ip4(&key->remote, CTX_READ(ctx, remote_ip4));
	} else {
		addr_words(&key->local, CTX_READ(ctx, local_ip6[0]), CTX_READ(ctx, local_ip6[1]),
			   CTX_READ(ctx, local_ip6[2]), CTX_READ(ctx, local_ip6[3]));
		addr_words(&key->remote, CTX_READ(ctx, remote_ip6[0]), CTX_READ(ctx, remote_ip6[1]),
			   CTX_READ(ctx, remote_ip6[2]), CTX_READ(ctx, remote_ip6[3]));
	}
	key->local_port = ctx->local_port;
	key->remote_port = bpf_ntohl(ctx->remote_port);
}

/* The SYN is about to leave, the source port is chosen: the proxy will ask for this entry when it accepts. */
static __always_inline void record_origin(struct bpf_sock_ops *ctx, struct socket *socket, const struct flow_key *key)
{
	struct origin_key origin_key = { .addr = key->local, .port = bpf_htons(key->local_port) };
	struct origin origin = {
		.dst = socket->service,
		.src = key->local,
		.dst_port = socket->service_port,
		.src_port = bpf_htons(key->local_port),
		.service = socket->service_id,
		.identity = socket->src_identity,
		.cgroup = socket->cgroup,
	};

	origin.cookie = bpf_get_socket_cookie(ctx);
	if (bpf_map_update_elem(&pl_origins, &origin_key, &origin, BPF_ANY))
		count(COUNTER_MAP_FULL);
}

/* May this end be accelerated? Auto: only an executable that the agent has seen to be unable to splice(2). */
static __always_inline bool may_accelerate(struct bpf_sock *sk, const struct addr_info *self)
{
	const struct settings *config = settings();
	struct exe_key *key;
	struct exe *exe;

	if (!(self->flags & ADDR_LOCAL) || self->flags & ADDR_ACCEL_OFF || !config)
		return false;
	if (self->flags & ADDR_ACCEL_ON || config->accel == ACCEL_ON)
		return true;
	if (config->accel == ACCEL_OFF)
		return false;
	key = bpf_sk_storage_get(&pl_sock_exe, sk, 0, 0);
	if (!key)
		return false;
	exe = bpf_map_lookup_elem(&pl_executables, key);
	return exe && exe->verdict == EXE_PLAIN;
}

/*
 * Only here, in the ESTABLISHED callbacks, does a socket enter the map: no byte has arrived yet. A socket that is put in
 * later reorders what it has not read (design 4.5).
 */
static __always_inline void accelerate(struct bpf_sock_ops *ctx, struct socket *socket, struct flow_key *key,
				       const struct addr_info *self, const struct addr_info *peer)
{
	struct bpf_sock *sk = ctx->sk;
	struct flow flow = {};

	if (!sk || !(peer->flags & ADDR_LOCAL) || !may_accelerate(sk, self))
		return;
	flow.sock = (__u64)sk;
	if (bpf_map_update_elem(&pl_flows, key, &flow, BPF_ANY)) {
		count(COUNTER_MAP_FULL);
		return;
	}
	if (bpf_sock_hash_update(ctx, &pl_sockhash, key, BPF_ANY)) {
		bpf_map_delete_elem(&pl_flows, key);
		return;
	}
	socket->flags |= SOCKET_ACCEL;
}

static __always_inline void fill(struct flow_event *event, const struct socket *socket, const struct flow_key *key)
{
	bool passive = socket->flags & SOCKET_PASSIVE;

	event->src = passive ? key->remote : key->local;
	event->dst = passive ? key->local : key->remote;
	event->src_port = bpf_htons(passive ? key->remote_port : key->local_port);
	event->dst_port = bpf_htons(passive ? key->local_port : key->remote_port);
	event->service = socket->service;
	event->service_port = socket->service_port;
	event->protocol = IPPROTO_TCP;
	event->src_identity = socket->src_identity;
	event->dst_identity = socket->dst_identity;
	event->flags = (passive ? EVENT_F_INGRESS : 0) | (socket->flags & SOCKET_L7 ? EVENT_F_L7 : 0) |
		       (socket->flags & SOCKET_ACCEL ? EVENT_F_ACCEL : 0);
	event->pid = socket->pid;
	__builtin_memcpy(event->comm, socket->comm, sizeof(event->comm));
}

static __always_inline void established(struct bpf_sock_ops *ctx, bool passive)
{
	const struct settings *config = settings();
	struct bpf_sock *sk = ctx->sk;
	struct addr_info self, peer;
	struct flow_event *event;
	struct flow_key key = {};
	struct socket *socket;

	if (!sk || !config)
		return;
	flow_key_of(ctx, &key);
	if (addr_is_loopback(&key.local) || addr_is_loopback(&key.remote))
		return;
	socket = bpf_sk_storage_get(&pl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket)
		return;
	self = who_is_at(&key.local);
	peer = who_is_at(&key.remote);
	if (passive) {
		socket->flags = SOCKET_PASSIVE;
		socket->src_identity = peer.identity;
		socket->dst_identity = self.identity;
		socket->policy_generation = config->policy_generation;
	} else if (!socket->src_identity) {
		/* Connected before the programs were attached. */
		socket->src_identity = self.identity;
		socket->dst_identity = peer.identity;
		socket->policy_generation = config->policy_generation;
	}
	socket->flags |= SOCKET_TRACKED;
	socket->opened_ns = bpf_ktime_get_ns();
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	accelerate(ctx, socket, &key, &self, &peer);
	/* A connection with both ends on this node is told once, by the end that opened it. */
	if (passive && peer.flags & ADDR_LOCAL)
		return;
	socket->flags |= SOCKET_REPORTED;
	event = event_reserve(EVENT_OPEN);
	if (!event)
		return;
	fill(event, socket, &key);
	event->cookie = bpf_get_socket_cookie(ctx);
	event_submit(event);
}

static __always_inline void closed(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct flow *flow = 0, *back;
	struct flow_key key = {}, reverse;
	__u64 sent = 0, received = 0;
	struct flow_event *event;
	struct socket *socket;

	if (!sk)
		return;
	socket = bpf_sk_storage_get(&pl_sockets, sk, 0, 0);
	if (!socket)
		return;
	flow_key_of(ctx, &key);
	if (socket->flags & SOCKET_L7) {
		struct origin_key origin_key = { .addr = key.local, .port = bpf_htons(key.local_port) };

		bpf_map_delete_elem(&pl_origins, &origin_key);
	}
	if (socket->flags & SOCKET_ACCEL) {
		flow_key_reverse(&key, &reverse);
		back = bpf_map_lookup_elem(&pl_flows, &reverse);
		flow = bpf_map_lookup_elem(&pl_flows, &key);
		sent = flow ? flow->redirected_bytes : 0;
		received = back ? back->redirected_bytes : 0;
	}
	if (socket->flags & SOCKET_REPORTED) {
		event = event_reserve(EVENT_CLOSE);
		if (event) {
			fill(event, socket, &key);
			event->cookie = bpf_get_socket_cookie(ctx);
			event->duration_ns = event->time_ns - socket->opened_ns;
			event->bytes_sent = ctx->bytes_acked + sent;
			event->bytes_received = ctx->bytes_received + received;
			event->srtt_us = ctx->srtt_us >> 3;
			event->retransmits = ctx->total_retrans;
			event_submit(event);
		}
	}
	if (socket->flags & SOCKET_ACCEL)
		bpf_map_delete_elem(&pl_flows, &key);
}

SEC("sockops")
int pl_sockops(struct bpf_sock_ops *ctx)
{
	struct flow_key key = {};
	struct socket *socket;
	struct bpf_sock *sk;

	if (ctx->family != AF_INET && ctx->family != AF_INET6)
		return ALLOW;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		sk = ctx->sk;
		socket = sk ? bpf_sk_storage_get(&pl_sockets, sk, 0, 0) : 0;
		if (socket && socket->flags & SOCKET_L7) {
			flow_key_of(ctx, &key);
			record_origin(ctx, socket, &key);
			/* Refused before it was established: the entry goes with the socket all the same. */
			bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		}
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		established(ctx, false);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		established(ctx, true);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == TCP_CLOSE)
			closed(ctx);
		break;
	}
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
