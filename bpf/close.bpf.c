/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The application closes a socket with which it had connected, or ends: the connection is told, its memory goes. Later
 * than TCP may learn of the end, but a single call, where TCP would make one for each of its states.
 *
 * Hook: cgroup/sock_release. Reads: pl_connections. Writes: pl_connections, pl_flows, pl_pairing, pl_origins, pl_habits,
 * pl_traffic, pl_events, pl_counters. Returns: 1 (the socket is closed whatever we say).
 */
#include "include/pillion/closing.h"
#include "include/pillion/socket.h"

SEC("cgroup/sock_release")
int pl_close(struct bpf_sock *ctx)
{
	struct flow_key key;
	struct socket *socket;
	__u64 address = (__u64)ctx, cookie;

	if (ctx->protocol != IPPROTO_TCP)
		return ALLOW;
	cookie = bpf_get_socket_cookie(ctx);
	socket = connection_of(ctx, cookie);
	if (!socket)
		return ALLOW;
	key = socket->flow;
	/* At run time the context is the struct sock itself; no helper says so to this type of program. */
	closed(socket, (struct tcp_sock *)ctx, &key, cookie);
	bpf_map_delete_elem(&pl_connections, &address);
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
