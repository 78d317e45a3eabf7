/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The application closes a socket with which it had connected, or ends: the connection is told, its memory goes. Later
 * than TCP may learn of the end, but a single call, where TCP would make one for each of its states.
 *
 * Hook: cgroup/sock_release. Reads: pl_connections, pl_sockets. Writes: pl_connections, pl_flows, pl_pairing, pl_origins, pl_habits,
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
	bool in_map;

	if (ctx->protocol != IPPROTO_TCP)
		return ALLOW;
	/* Most sockets that are closed never connected: they are not even given a cookie. */
	socket = bpf_map_lookup_elem(&pl_connections, &address);
	in_map = socket;
	if (!socket)
		socket = bpf_sk_storage_get(&pl_sockets, ctx, 0, 0);
	if (!socket || socket->flags & SOCKET_PASSIVE)
		return ALLOW;
	cookie = bpf_get_socket_cookie(ctx);
	key = socket->flow;
	/* At run time the context is the struct sock itself; no helper says so to this type of program. */
	if (socket->cookie == cookie)
		closed(socket, (struct tcp_sock *)ctx, &key, cookie);
	if (in_map)
		bpf_map_delete_elem(&pl_connections, &address);
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
