/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connect-time translation, egress policy, redirect of declared services to the local proxy.
 *
 * Hooks: cgroup/connect4, connect6, sendmsg4, sendmsg6. What the application sees of it afterwards: peer.bpf.c.
 * Reads: pl_services, pl_slots, pl_members, pl_backends, pl_cgroups, pl_addresses, pl_subjects, pl_rules, pl_proxy, pl_settings,
 * pl_on_behalf_of, pl_shadow.
 * Writes: pl_connections, pl_sockets, pl_udp_peers, pl_affinity, pl_counters, pl_events.
 * Returns: 1 proceed; 0 refuse: EPERM when a policy denies, ECONNREFUSED when nobody could answer.
 */
#include "include/pillion/event.h"
#include "include/pillion/identity.h"
#include "include/pillion/policy.h"
#include "include/pillion/service.h"
#include "include/pillion/shadow.h"
#include "include/pillion/socket.h"
#include "include/pillion/udp.h"

/* Besides errno values, for a destination that is let through without being remembered. */
#define NOT_OURS (-1) /* loopback */
#define ANSWER (-2) /* to a datagram that was let in */

/* A destination on its way through the program: what was asked for, then what is connected to. */
struct target {
	struct addr addr;
	__be16 port;
	__u8 protocol;
	__u8 l7;
	__u32 identity;
	__u32 service;
	__u32 backend;
	struct addr asked;
	__be16 asked_port;
	__u16 translated;
};

static __always_inline int refuse(struct bpf_sock_addr *ctx, int error)
{
	if (error != EPERM && HAS_HELPER(set_retval))
		bpf_set_retval(-error);
	return REFUSE;
}

static __always_inline void report_deny(struct bpf_sock_addr *ctx, const struct target *target, const struct who *who,
					const struct verdict_of *verdict)
{
	struct flow_event *event;

	count(verdict->direction == DIRECTION_EGRESS ? COUNTER_DENY_EGRESS : COUNTER_DENY_INGRESS);
	event = event_reserve(EVENT_DENY);
	if (!event)
		return;
	event->cookie = bpf_get_socket_cookie(ctx);
	event->dst = target->addr;
	event->dst_port = target->port;
	event->protocol = target->protocol;
	event->src_identity = who->identity;
	event->dst_identity = target->identity;
	event->rule = verdict->rule;
	event->direction = verdict->direction;
	if (target->translated) {
		event->service = target->asked;
		event->service_port = target->asked_port;
	}
	event_process(event);
	event_submit(event);
}

/* Where the proxy listens for this family; false: it does not. */
static __always_inline bool to_proxy(struct target *target)
{
	const struct settings *config = settings();
	const struct addr *proxy;

	if (!config)
		return false;
	proxy = addr_is_ip4(&target->addr) ? &config->proxy4 : &config->proxy6;
	if (!addr_word(proxy, 3) || !config->proxy_port)
		return false;
	target->addr = *proxy;
	target->port = config->proxy_port;
	target->identity = IDENTITY_HOST;
	target->l7 = 1;
	count(COUNTER_CONNECT_L7);
	return true;
}

/* 0, or the errno to refuse with. A destination that is no service address is left as it is. */
static __always_inline int translate(struct bpf_sock_addr *ctx, struct target *target, __u64 client, bool connected)
{
	struct service_key key = { .addr = target->addr, .port = target->port, .protocol = target->protocol };
	struct addr_info info = {};
	struct service *service = service_at(&key, &info);
	struct backend *backend;
	__u32 number = 0;

	if (!service) {
		target->identity = info.identity;
		return 0;
	}
	target->asked = target->addr;
	target->asked_port = target->port;
	target->translated = 1;
	target->service = service->id;
	if (service->l7 && target->protocol == IPPROTO_TCP) {
		if (proxy_serves() && to_proxy(target))
			return 0;
		if (service->failure_mode != FAILURE_BYPASS) {
			count(COUNTER_CONNECT_REJECTED);
			return ECONNREFUSED;
		}
		count(COUNTER_CONNECT_BYPASS);
	}
	if (connected) {
		backend = choose_backend(service, &key, client, &number);
	} else {
		struct udp_key asked = { .cookie = bpf_get_socket_cookie(ctx), .addr = target->asked };

		asked.port = target->asked_port;
		backend = datagram_backend(service, &key, &asked, client, &number);
	}
	if (!backend) {
		count(COUNTER_CONNECT_NO_ENDPOINT);
		return ECONNREFUSED;
	}
	target->addr = backend->addr;
	target->port = backend->port;
	target->identity = backend->identity;
	target->backend = number;
	count(COUNTER_CONNECT_TRANSLATED);
	return 0;
}

static __always_inline void remember_udp_peer(struct bpf_sock_addr *ctx, const struct target *target)
{
	struct udp_key key = { .cookie = bpf_get_socket_cookie(ctx), .addr = target->addr, .port = target->port };
	struct udp_peer *known = bpf_map_lookup_elem(&pl_udp_peers, &key);
	struct udp_peer peer = { .addr = target->addr, .port = target->port, .sent_ns = bpf_ktime_get_ns() };

	if (target->translated) {
		peer.addr = target->asked;
		peer.port = target->asked_port;
	}
	if (known)
		peer.received_ns = known->received_ns;
	if (bpf_map_update_elem(&pl_udp_peers, &key, &peer, BPF_ANY))
		count(COUNTER_MAP_FULL);
}

/* An answer to a datagram that policy let in: the ingress decision covers it, not this sender's egress. */
static __always_inline bool is_udp_reply(struct bpf_sock_addr *ctx, const struct target *target)
{
	struct udp_peer *peer;

	if (target->protocol != IPPROTO_UDP)
		return false;
	peer = udp_peer_of(ctx, &target->addr, target->port);
	return peer && is_recent(peer->received_ns);
}

/* What an earlier connect on this socket left; this one was refused, or is none of ours. */
static __always_inline void forget_socket(struct bpf_sock_addr *ctx, const struct target *target)
{
	struct bpf_sock *sk = ctx->sk;
	__u64 address = (__u64)sk;

	if (!sk)
		return;
	if (target->protocol == IPPROTO_TCP)
		bpf_map_delete_elem(&pl_connections, &address);
	bpf_sk_storage_delete(&pl_sockets, sk);
}

/* Sockets that the kernel made for itself are closed without a word: nobody would remove their entry. */
static __always_inline bool is_kernels(struct bpf_sock *sk)
{
	struct sock *kernel = (struct sock *)bpf_skc_to_tcp_sock(sk);

	return !kernel || BPF_CORE_READ_BITFIELD(kernel, sk_kern_sock);
}

static __always_inline void remember_socket(struct bpf_sock_addr *ctx, const struct target *target,
					    const struct who *who, __u32 generation)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket socket = {
		.service_id = target->service,
		.src_identity = who->identity,
		.dst_identity = target->identity,
		.on_behalf_of = who->on_behalf_of,
		.policy_generation = generation,
		.cgroup = who->cgroup,
		.backend = target->backend,
		.pid = bpf_get_current_pid_tgid() >> 32,
	};
	__u64 address = (__u64)sk;
	struct socket *kept;

	if (!sk)
		return;
	if (target->translated) {
		socket.service = target->asked;
		socket.service_port = target->asked_port;
		socket.flags = SOCKET_TRANSLATED | (target->l7 ? SOCKET_L7 : 0);
	}
	bpf_get_current_comm(socket.comm, sizeof(socket.comm));
	if (target->protocol == IPPROTO_TCP) {
		if (is_kernels(sk))
			return;
		socket.cookie = bpf_get_socket_cookie(ctx);
		if (!bpf_map_update_elem(&pl_connections, &address, &socket, BPF_ANY))
			return;
		/* One pod that opens all that there is room for must not take the others' away: dearer, but never full. */
		count(COUNTER_MAP_FULL);
	} else {
		socket.flags |= SOCKET_TRACKED; /* TCP: when it is established */
	}
	kept = bpf_sk_storage_get(&pl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (kept)
		*kept = socket;
}

/* The proxy has balanced already; it is judged as the one it works for. */
static __always_inline void judge_as_client(struct bpf_sock_addr *ctx, struct who *who)
{
	struct bpf_sock *sk = ctx->sk;
	struct on_behalf_of *client = sk ? bpf_sk_storage_get(&pl_on_behalf_of, sk, 0, 0) : 0;

	if (!client || !client->identity)
		return;
	who->on_behalf_of = client->identity;
	who->identity = client->identity;
}

static __always_inline void shadow(struct bpf_sock_addr *ctx, const struct target *target, const struct who *who)
{
	struct attempt attempt = {
		.dst = target->addr,
		.cookie = bpf_get_socket_cookie(ctx),
		.src_identity = who->identity,
		.dst_identity = target->identity,
		.port = bpf_ntohs(target->port),
		.protocol = target->protocol,
		.ingress = who_is_at(&target->addr).flags & ADDR_LOCAL ? 1 : 0,
	};

	if (!is_udp_reply(ctx, target))
		judge_shadow(&attempt);
}

/* Where to, and whether it may. 0: proceed to target->addr; otherwise the errno to refuse with. */
static __always_inline int decide(struct bpf_sock_addr *ctx, struct target *target, struct who *who, bool connected)
{
	struct verdict_of verdict = { .allowed = 1 };
	int error;

	who_is_current(who);
	if (who->proxy) {
		target->identity = who_is_at(&target->addr).identity;
		judge_as_client(ctx, who);
	} else {
		error = translate(ctx, target, who->cgroup, connected);
		if (error)
			return error;
	}
	if (target->l7)
		return 0; /* the proxy's upstream connection is judged */
	judge_both(who->identity, target->identity, target->protocol, bpf_ntohs(target->port), &verdict);
	if (verdict.allowed) {
		if (has_shadow())
			shadow(ctx, target, who);
		return 0;
	}
	if (is_udp_reply(ctx, target))
		return ANSWER;
	report_deny(ctx, target, who, &verdict);
	return EPERM;
}

/* One connect or sendmsg. 0: proceed to target->addr; otherwise the errno to refuse with. */
static __always_inline int on_destination(struct bpf_sock_addr *ctx, struct target *target, bool connected)
{
	const struct settings *config = settings();
	/* Read before judging: a policy that changes meanwhile has the connection judged again. */
	__u32 generation = config ? config->policy_generation : 0;
	struct who who = {};
	int error = NOT_OURS;

	if (!addr_is_loopback(&target->addr))
		error = decide(ctx, target, &who, connected);
	if (error) {
		if (connected)
			forget_socket(ctx, target);
		return error < 0 ? 0 : error;
	}
	if (connected)
		remember_socket(ctx, target, &who, generation);
	if (target->protocol == IPPROTO_UDP)
		remember_udp_peer(ctx, target);
	return 0;
}

static __always_inline bool handles(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

static __always_inline int on_destination4(struct bpf_sock_addr *ctx, bool connected)
{
	struct target target = { .port = ctx->user_port, .protocol = ctx->protocol };
	int error;

	if (!handles(ctx))
		return ALLOW;
	addr_from_ip4(&target.addr, ctx->user_ip4);
	error = on_destination(ctx, &target, connected);
	if (error)
		return refuse(ctx, error);
	if (target.translated) {
		ctx->user_ip4 = addr_word(&target.addr, 3);
		ctx->user_port = target.port;
	}
	return ALLOW;
}

static __always_inline int on_destination6(struct bpf_sock_addr *ctx, bool connected)
{
	struct target target = { .port = ctx->user_port, .protocol = ctx->protocol };
	int error;

	if (!handles(ctx))
		return ALLOW;
	addr_words(&target.addr, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]);
	error = on_destination(ctx, &target, connected);
	if (error)
		return refuse(ctx, error);
	if (target.translated) {
		ctx->user_ip6[0] = addr_word(&target.addr, 0);
		ctx->user_ip6[1] = addr_word(&target.addr, 1);
		ctx->user_ip6[2] = addr_word(&target.addr, 2);
		ctx->user_ip6[3] = addr_word(&target.addr, 3);
		ctx->user_port = target.port;
	}
	return ALLOW;
}

SEC("cgroup/connect4")
int pl_connect4(struct bpf_sock_addr *ctx)
{
	return on_destination4(ctx, true);
}

SEC("cgroup/connect6")
int pl_connect6(struct bpf_sock_addr *ctx)
{
	return on_destination6(ctx, true);
}

SEC("cgroup/sendmsg4")
int pl_sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_destination4(ctx, false);
}

SEC("cgroup/sendmsg6")
int pl_sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_destination6(ctx, false);
}

char _license[] SEC("license") = "Dual BSD/GPL";
