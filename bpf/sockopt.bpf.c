/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The proxy's only interface to the datapath (design 4.4): socket options of level SOL_PILLION on sockets it owns.
 *
 * Hooks: cgroup/getsockopt, cgroup/setsockopt, cgroup/sock_release, attached to the proxy's cgroup alone, so that nobody
 * else can use them and nobody else pays for them. Reads: pl_sock_origin. Writes: pl_on_behalf_of, pl_proxy, pl_listeners,
 * pl_counters. Returns: 1 proceed; 0 EPERM (buffer too small).
 */
#include "include/pillion/common.h"

SEC("cgroup/getsockopt")
int pl_getsockopt(struct bpf_sockopt *ctx)
{
	void *value = ctx->optval, *end = ctx->optval_end;
	struct bpf_sock *sk = ctx->sk;
	struct origin *origin;

	if (ctx->level != SOL_PILLION || ctx->optname != PILLION_ORIGIN)
		return ALLOW;
	if (!sk || value + sizeof(*origin) > end)
		return REFUSE;
	origin = bpf_sk_storage_get(&pl_sock_origin, sk, 0, 0);
	if (!origin) {
		count(COUNTER_ORIGIN_MISSING);
		return ALLOW; /* the kernel's own answer to an unknown level: ENOPROTOOPT */
	}
	__builtin_memcpy(value, origin, sizeof(*origin));
	/* Volatile: the verifier refuses one store for two fields of a context. */
	*(volatile __s32 *)&ctx->optlen = sizeof(*origin);
	*(volatile __s32 *)&ctx->retval = 0;
	return ALLOW;
}

static __always_inline int on_behalf_of(struct bpf_sockopt *ctx)
{
	struct on_behalf_of *option = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	struct on_behalf_of *kept;

	if (!sk || (void *)(option + 1) > ctx->optval_end)
		return REFUSE;
	kept = bpf_sk_storage_get(&pl_on_behalf_of, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!kept)
		return REFUSE;
	kept->identity = option->identity;
	return ALLOW;
}

static __always_inline int heartbeat(struct bpf_sockopt *ctx)
{
	struct heartbeat *option = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	struct heartbeat *listener;
	struct proxy proxy = {};
	__u32 zero = 0;

	if (!sk || (void *)(option + 1) > ctx->optval_end)
		return REFUSE;
	listener = bpf_sk_storage_get(&pl_listeners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!listener)
		return REFUSE;
	*listener = *option;
	proxy.heartbeat_ns = bpf_ktime_get_ns();
	proxy.state = option->state;
	proxy.pid = option->pid;
	bpf_map_update_elem(&pl_proxy, &zero, &proxy, BPF_ANY);
	return ALLOW;
}

SEC("cgroup/setsockopt")
int pl_setsockopt(struct bpf_sockopt *ctx)
{
	int verdict;

	if (ctx->level != SOL_PILLION)
		return ALLOW;
	if (ctx->optname == PILLION_ON_BEHALF_OF)
		verdict = on_behalf_of(ctx);
	else if (ctx->optname == PILLION_HEARTBEAT)
		verdict = heartbeat(ctx);
	else
		return REFUSE;
	ctx->optlen = -1; /* done: the kernel does not look at it */
	return verdict;
}

/*
 * The last descriptor of a listening socket that beats is gone: the proxy is dead, and we know it at once rather than
 * when the heartbeat has gone stale. A successor that beats already on its own socket has another pid.
 */
SEC("cgroup/sock_release")
int pl_sock_release(struct bpf_sock *ctx)
{
	struct heartbeat *listener = bpf_sk_storage_get(&pl_listeners, ctx, 0, 0);
	__u32 zero = 0;
	struct proxy *proxy;

	if (!listener)
		return ALLOW;
	proxy = bpf_map_lookup_elem(&pl_proxy, &zero);
	if (proxy && proxy->pid == listener->pid)
		proxy->state = PROXY_GONE;
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
