/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of a TCP connection: who owns it, when it opens and closes, whether it may be accelerated.
 *
 * Hook: sockops. Reads: pl_addresses, pl_executables, pl_settings. Writes: pl_connections, pl_sockets, pl_origins,
 * pl_listen_exes, pl_executables, pl_sockhash, pl_flows, pl_pairing, pl_habits, pl_traffic,
 * pl_events, pl_counters. Returns: 1 (the reply field is never used).
 */
#include "include/pillion/behalf.h"
#include "include/pillion/closing.h"
#include "include/pillion/exe.h"
#include "include/pillion/identity.h"
#include "include/pillion/listen.h"
#include "include/pillion/open.h"
#include "include/pillion/socket.h"

#define TCP_CLOSE 7
#define TCP_LISTEN 10

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

/* May this end be accelerated? 1 yes, 0 no, -1 Auto: look at habit and executable. */
static __always_inline int settled(const struct settings *config, const struct addr_info *self)
{
	if (self->flags & ADDR_ACCEL_OFF)
		return 0;
	if (self->flags & ADDR_ACCEL_ON || config->accel == ACCEL_ON)
		return 1;
	return config->accel == ACCEL_AUTO ? -1 : 0;
}

static __always_inline void hear_of(struct bpf_sock_ops *ctx, int flags)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | flags);
}

/* Both ends come by here, in any order and at the same time: whoever finds the other tells both. */
static __always_inline void meet_peer(struct flow_key *key, __u64 cookie)
{
	struct flow *self, *peer;
	struct flow_key reverse;
	__u64 *found, other;

	if (bpf_map_update_elem(&pl_pairing, key, &cookie, BPF_ANY)) {
		count(COUNTER_MAP_FULL);
		return;
	}
	flow_key_reverse(key, &reverse);
	found = bpf_map_lookup_elem(&pl_pairing, &reverse);
	if (!found)
		return;
	other = *found;
	self = bpf_map_lookup_elem(&pl_flows, &cookie);
	peer = bpf_map_lookup_elem(&pl_flows, &other);
	if (self && peer) {
		self->peer = other;
		peer->peer = cookie;
	}
	bpf_map_delete_elem(&pl_pairing, key);
	bpf_map_delete_elem(&pl_pairing, &reverse);
}

/*
 * Only here, in the ESTABLISHED callbacks, does a socket enter the map: no byte has arrived yet. A socket that is put in
 * later reorders what it has not read (design 4.5).
 */
static __always_inline void accelerate(struct bpf_sock_ops *ctx, struct socket *socket, struct flow_key *key)
{
	struct bpf_sock *sk = ctx->sk;
	struct flow flow = { .policy_generation = socket->policy_generation };
	__u64 cookie = bpf_get_socket_cookie(ctx);

	if (!sk)
		return;
	flow.sock = (__u64)sk;
	if (bpf_map_update_elem(&pl_flows, &cookie, &flow, BPF_ANY)) {
		count(COUNTER_MAP_FULL);
		return;
	}
	if (bpf_sock_hash_update(ctx, &pl_sockhash, &cookie, BPF_ANY)) {
		bpf_map_delete_elem(&pl_flows, &cookie);
		return;
	}
	socket->flags |= SOCKET_ACCEL;
	hear_of(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	meet_peer(key, cookie);
}

static __always_inline void report_open(struct bpf_sock_ops *ctx, struct socket *socket, const struct flow_key *key)
{
	struct traffic *sums = traffic_of(socket);
	struct flow_event *event;

	socket->flags |= SOCKET_REPORTED;
	if (sums)
		add(&sums->opened, 1);
	event = event_reserve(EVENT_OPEN);
	if (!event)
		return;
	fill_event(event, socket, key);
	event->cookie = bpf_get_socket_cookie(ctx);
	event_submit(event);
}

/*
 * connect(2), in the context of its caller, source port chosen, SYN not sent. All that can be settled is settled here,
 * where the process is known.
 */
static __always_inline void connecting(struct bpf_sock_ops *ctx)
{
	const struct settings *config = settings();
	struct addr_info self, peer;
	struct bpf_sock *sk = ctx->sk;
	struct socket *socket = sk ? socket_of(sk, bpf_get_socket_cookie(ctx)) : 0;
	struct flow_key key = {};
	int may;

	if (!socket || !config)
		return;
	flow_key_of(ctx, &key);
	socket->flow = key;
	if (socket->flags & SOCKET_L7) {
		record_origin(ctx, socket, &key);
		hear_of(ctx,
			BPF_SOCK_OPS_STATE_CB_FLAG); /* refused before it was established: the entry goes all the same */
	}
	peer = who_is_at(&key.remote);
	if (!(peer.flags & ADDR_LOCAL)) {
		if (socket->on_behalf_of)
			hear_of(ctx, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
		return;
	}
	self = who_is_at(&key.local);
	if (!(self.flags & ADDR_LOCAL))
		return;
	socket->flags |= SOCKET_LOCAL;
	may = settled(config, &self);
	if (may < 0 && socket->flags & SOCKET_L7) {
		may = !blocks((struct sock *)bpf_skc_to_tcp_sock(sk)) && current_exe_is_plain();
	} else if (may < 0) {
		socket->flags |= SOCKET_HABIT;
		may = !tcp_by_habit(socket->src_identity, socket->dst_identity, key.remote_port) &&
		      !blocks((struct sock *)bpf_skc_to_tcp_sock(sk)) && current_exe_is_plain();
	}
	if (may)
		socket->flags |= SOCKET_MAY_ACCEL;
}

static __always_inline void connected(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket *socket = sk ? socket_of(sk, bpf_get_socket_cookie(ctx)) : 0;
	struct flow_key key;

	/* Without: connected before the programs were attached, or loopback. Its next connect is ours. */
	if (!socket)
		return;
	key = socket->flow;
	socket->flags |= SOCKET_TRACKED;
	socket->opened_ns = bpf_ktime_get_ns();
	hear_of(ctx, BPF_SOCK_OPS_RTO_CB_FLAG);
	if (ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG)
		hear_of(ctx, BPF_SOCK_OPS_RTT_CB_FLAG);
	if (socket->flags & SOCKET_MAY_ACCEL)
		accelerate(ctx, socket, &key);
	report_open(ctx, socket, &key);
}

/*
 * The handshake with the proxy is complete: the origin moves from the client's address to the proxy's socket, where it
 * stays however soon the client is gone.
 */
static __always_inline void hand_over_origin(struct bpf_sock *sk, const struct flow_key *key)
{
	struct origin_key origin_key = { .addr = key->remote, .port = bpf_htons(key->remote_port) };
	struct origin *origin = bpf_map_lookup_elem(&pl_origins, &origin_key);

	if (!origin || !bpf_sk_storage_get(&pl_sock_origin, sk, origin, BPF_SK_STORAGE_GET_F_CREATE))
		return;
	bpf_map_delete_elem(&pl_origins, &origin_key);
}

/*
 * An accepted connection of two pods of this node that is not accelerated gets no memory here: whoever opened it reports
 * it, and the first packet after some policy exists makes up for it (ingress.bpf.c). That memory would be the dearest
 * part of accepting. The callback flags say what the socket is: RTO alone is an accepted one.
 */
static __always_inline void accepted(struct bpf_sock_ops *ctx)
{
	const struct settings *config = settings();
	struct addr_info self, peer;
	struct flow_key key = {};
	struct socket *socket;
	struct bpf_sock *sk = ctx->sk;
	bool local, accelerated, left_to_tcp, to_proxy;
	__u32 client = 0;
	int may;

	flow_key_of(ctx, &key);
	if (!sk || !config || addr_is_loopback(&key.local) || addr_is_loopback(&key.remote)) {
		bpf_sock_ops_cb_flags_set(ctx, 0); /* not the listener's flags */
		return;
	}
	bpf_sock_ops_cb_flags_set(ctx, ACCEPTED_CB_FLAGS);
	to_proxy = key.local_port == bpf_ntohs(config->proxy_port);
	if (to_proxy)
		hand_over_origin(sk, &key);
	self = who_is_at(&key.local);
	peer = who_is_at(&key.remote);
	local = self.flags & peer.flags & ADDR_LOCAL;
	if (is_other_node(&peer))
		client = behalf_in_handshake(ctx);
	may = local ? settled(config, &self) : 0;
	left_to_tcp = !to_proxy && may < 0 && tcp_by_habit(peer.identity, self.identity, key.local_port);
	/* The proxy is ours: it does not splice, and may have listened before the programs were there to see it. */
	accelerated = may > 0 || (may < 0 && !left_to_tcp && (to_proxy || listener_is_plain(ctx)));
	if (local && !accelerated)
		return;
	socket = bpf_sk_storage_get(&pl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket)
		return;
	socket->flags = SOCKET_PASSIVE | SOCKET_TRACKED | (local ? SOCKET_LOCAL : 0);
	socket->src_identity = client ? client : peer.identity;
	socket->dst_identity = self.identity;
	socket->on_behalf_of = client;
	/* Not this generation: the SYN may have been judged under another. The first packet judges again. */
	socket->policy_generation = config->policy_generation - 1;
	socket->opened_ns = bpf_ktime_get_ns();
	hear_of(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	/* A connection with both ends on this node is told once, by the end that opened it. */
	if (local)
		accelerate(ctx, socket, &key);
	else
		report_open(ctx, socket, &key);
}

/*
 * TCP is done with a socket that asked to hear of it: one that was accepted, or is kept by its addresses as well. All
 * others are told by close.bpf.c.
 */
static __always_inline void ended(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct flow_key key = {};
	struct socket *socket;
	struct tcp_sock *tp;
	__u64 cookie;

	if (!sk)
		return;
	cookie = bpf_get_socket_cookie(ctx);
	socket = socket_of(sk, cookie);
	tp = bpf_skc_to_tcp_sock(sk);
	if (!socket || !tp)
		return;
	flow_key_of(ctx, &key);
	closed(socket, tp, &key, cookie);
}

/*
 * Nothing was acknowledged for a while. If that is because a policy cut this connection, its owner is told with
 * ETIMEDOUT at the next time-out rather than after the quarter of an hour that TCP would go on trying.
 */
static __always_inline void unanswered(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket *socket = sk ? socket_of(sk, bpf_get_socket_cookie(ctx)) : 0;
	struct flow_key key = {};
	int at_once_ms = 1;

	if (!socket)
		return;
	flow_key_of(ctx, &key);
	if (forbidden_by_now(socket, &key, IPPROTO_TCP))
		bpf_setsockopt(ctx, IPPROTO_TCP, TCP_USER_TIMEOUT, &at_once_ms, sizeof(at_once_ms));
}

/* Room for the option, then the option, in a segment that is being made. */
static __always_inline void making_segment(struct bpf_sock_ops *ctx, __u32 op)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket *socket = sk ? socket_of(sk, bpf_get_socket_cookie(ctx)) : 0;

	if (!socket || !socket->on_behalf_of)
		return;
	if (op == BPF_SOCK_OPS_HDR_OPT_LEN_CB)
		bpf_reserve_hdr_opt(ctx, sizeof(struct behalf_option), 0);
	else
		write_behalf(ctx, socket->on_behalf_of);
}

SEC("sockops")
int pl_sockops(struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;

	if (ctx->family != AF_INET && ctx->family != AF_INET6)
		return ALLOW;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		connecting(ctx);
	else if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		connected(ctx);
	else if (op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		accepted(ctx);
	else if (op == BPF_SOCK_OPS_TCP_LISTEN_CB)
		listening(ctx);
	else if (op == BPF_SOCK_OPS_RTO_CB)
		unanswered(ctx);
	else if (op == BPF_SOCK_OPS_HDR_OPT_LEN_CB || op == BPF_SOCK_OPS_WRITE_HDR_OPT_CB)
		making_segment(ctx, op);
	else if (op == BPF_SOCK_OPS_RTT_CB) /* data was acknowledged: the other end is established, and was told */
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~(BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG |
									      BPF_SOCK_OPS_RTT_CB_FLAG));
	else if (op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == TCP_CLOSE) {
		if (ctx->args[0] == TCP_LISTEN)
			stopped_listening(ctx);
		else
			ended(ctx);
	}
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
