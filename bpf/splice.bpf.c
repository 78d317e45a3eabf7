/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Same-node acceleration: a message goes from the sender's socket into the receiver's without TCP in between.
 *
 * Hook: sk_msg on pl_sockhash. Reads: pl_flows, pl_connections, pl_sockets, pl_settings. Writes: pl_flows, pl_counters,
 * pl_events.
 * Returns: SK_PASS (redirected, or carried by TCP); SK_DROP when a policy forbids the connection by now: the sender
 * gets EACCES.
 *
 * Sockhash redirect has no back-pressure of its own and must not overtake bytes that TCP still carries, so every
 * message asks the target first (design 4.5). Redirected bytes are always read before TCP's, so order holds:
 *   - all that TCP was given was acknowledged (snd_una == write_seq) and read (receive queue and backlog empty);
 *   - unread redirected bytes stay below a limit;
 *   - once TCP has carried a message, it carries that direction until the receiver itself sends with nothing left to
 *     read. A reader that waits for more than there is (MSG_WAITALL) has emptied the queue and sleeps on TCP: it would
 *     not see redirected bytes, and somebody else would read them first.
 */
#include "include/pillion/closing.h"
#include "include/pillion/open.h"
#include "include/pillion/socket.h"

/* Unread bytes that a receiver may have waiting, as much as a TCP receive buffer of the default size. */
const volatile __u32 config_unread_limit = 262144;
/* A run without an answer is a stream, which TCP carries faster (corking, GSO). Written by the loader. */
const volatile __u32 config_run_bytes = 262144;
const volatile __u32 config_run_messages = 64;

#define BULK_STRIDE 32

static __always_inline void flow_key_of(struct sk_msg_md *ctx, struct flow_key *key)
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

/*
 * The sender is read through BTF, at the cost of a load; the receiver, whose address comes from a map, with one helper
 * call a field. Those calls are most of this program's time.
 */

/* May this message leave the sender's TCP out? Not with bytes on their way, TLS in the kernel, or MSG_ZEROCOPY. */
static __always_inline bool sender_allows(struct tcp_sock *tp)
{
	return tp->snd_una == tp->write_seq && !((struct inet_connection_sock *)tp)->icsk_ulp_ops &&
	       !(((struct sock *)tp)->__sk_common.skc_flags &
		 1ul << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY));
}

/* Nothing that TCP brought is left to read for the one who sends now. */
static __always_inline bool has_read_tcp(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;

	return !sk->sk_receive_queue.qlen && !sk->sk_backlog.len;
}

/* As many bytes of struct sock as hold both lengths in the kernels that we know: one helper call for two fields. */
#define QUEUES_SIZE 48

/* Has the receiver left something unread of what TCP brought? */
static __always_inline bool has_unread(struct sock *sk)
{
	__u32 qlen = bpf_core_field_offset(sk->sk_receive_queue.qlen) - bpf_core_field_offset(sk->sk_receive_queue);
	__u32 backlog = bpf_core_field_offset(sk->sk_backlog.len) - bpf_core_field_offset(sk->sk_receive_queue);
	__u8 queues[QUEUES_SIZE];

	if (qlen > QUEUES_SIZE - 4 || backlog > QUEUES_SIZE - 4)
		return BPF_CORE_READ(sk, sk_receive_queue.qlen) || BPF_CORE_READ(sk, sk_backlog.len);
	if (bpf_core_read(queues, QUEUES_SIZE, &sk->sk_receive_queue))
		return true;
	return *(__u32 *)(queues + qlen) || *(__u32 *)(queues + backlog);
}

/* Has the receiver read all that TCP brought, and little enough of what was redirected left? */
static __always_inline bool has_room(__u64 address, __u32 size)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)address;
	struct sock *sk = (struct sock *)address;
	__u64 user_data = (__u64)BPF_CORE_READ(sk, sk_user_data) & ~7ull; /* low bits are flags */
	struct sk_psock *psock = (struct sk_psock *)user_data;

	if (!psock || has_unread(sk) || BPF_CORE_READ(sk, sk_rcvlowat) > 1 || BPF_CORE_READ(icsk, icsk_ulp_ops))
		return false;
	if (bpf_core_field_exists(psock->msg_tot_len))
		return BPF_CORE_READ(psock, msg_tot_len) + size <= config_unread_limit;
	return (__u64)BPF_CORE_READ(psock, ingress_msg.next) ==
	       user_data + bpf_core_field_offset(struct sk_psock, ingress_msg);
}

/* Once for each change of policy, and again by the packets of the connection that TCP carries (ingress.bpf.c). */
static __always_inline bool forbidden(struct sk_msg_md *ctx, struct bpf_sock *sk, __u64 cookie, struct flow *flow,
				      const struct settings *config)
{
	struct flow_key key = {};
	struct socket *socket;

	if (flow->policy_generation == config->policy_generation)
		return flow->denied;
	flow->policy_generation = config->policy_generation;
	flow_key_of(ctx, &key);
	socket = socket_of(sk, cookie);
	flow->denied = socket && forbidden_by_now(socket, &key, IPPROTO_TCP);
	return flow->denied;
}

/* A run goes on by TCP: told for the first one in each direction, which is all that a stream has. */
static __noinline void tell_shift(struct sk_msg_md *ctx, struct bpf_sock *sk, __u64 cookie, struct flow *flow)
{
	struct flow_key key = {};
	struct socket *socket;
	struct flow_event *event;

	flow->shifted = 1;
	socket = socket_of(sk, cookie);
	if (!socket)
		return;
	flow_key_of(ctx, &key);
	event = event_reserve(EVENT_SHIFT);
	if (!event)
		return;
	fill_event(event, socket, &key);
	event->cookie = cookie;
	event->bytes_sent = flow->redirected_bytes;
	event_submit(event);
}

SEC("sk_msg")
int pl_sk_msg(struct sk_msg_md *ctx)
{
	const struct settings *config = settings();
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : 0;
	struct flow *self, *peer;
	__u64 cookie, other;
	__u32 size = ctx->size;

	if (!tp || !config)
		return SK_PASS;
	cookie = ((struct sock *)tp)->__sk_common.skc_cookie.counter;
	self = bpf_map_lookup_elem(&pl_flows, &cookie);
	if (!self)
		return SK_PASS;
	if (forbidden(ctx, sk, cookie, self, config)) {
		count(COUNTER_DENY_OPEN);
		return SK_DROP;
	}
	self->messages += 1;
	other = self->peer;
	peer = other ? bpf_map_lookup_elem(&pl_flows, &other) : 0;
	if (!peer) {
		self->by_tcp = 1; /* the other end is not there yet, or never will be */
		return SK_PASS;
	}
	/* Each end writes its own entry: a cache line that both write for every message costs more than all else here. */
	if (self->answered != peer->messages) {
		self->answered = peer->messages;
		self->run_bytes = 0;
		self->run_messages = 0;
	}
	if (peer->by_tcp && has_read_tcp(tp))
		peer->by_tcp = 0;
	if (self->run_bytes > config_run_bytes || self->run_messages > config_run_messages) {
		self->by_tcp = 1;
		if (!self->shifted)
			tell_shift(ctx, sk, cookie, self);
		count(COUNTER_ACCEL_BULK);
		bpf_msg_apply_bytes(ctx, size * BULK_STRIDE);
		return SK_PASS;
	}
	self->run_bytes += size;
	self->run_messages += 1;
	if (self->by_tcp || !sender_allows(tp) || !has_room(peer->sock, size)) {
		self->by_tcp = 1;
		count(COUNTER_ACCEL_TCP);
		return SK_PASS;
	}
	if (bpf_msg_redirect_hash(ctx, &pl_sockhash, &other, BPF_F_INGRESS) != SK_PASS) {
		self->by_tcp = 1;
		return SK_PASS;
	}
	self->redirected_bytes += size;
	count(COUNTER_ACCEL_REDIRECTED);
	return SK_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
