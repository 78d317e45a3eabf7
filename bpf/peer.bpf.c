/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the application sees of a translated connection: the service that it asked for, never the backend.
 *
 * Hooks: cgroup/recvmsg4, recvmsg6, getpeername4, getpeername6. Reads: pl_udp_peers, pl_connections, pl_sockets.
 * Writes: nothing. Returns: 1.
 */
#include "include/pillion/socket.h"
#include "include/pillion/udp.h"

/* A datagram from a backend comes from the service, as far as the application is concerned. */
SEC("cgroup/recvmsg4")
int pl_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct udp_peer *peer;
	struct addr addr;

	addr_from_ip4(&addr, ctx->user_ip4);
	peer = udp_peer_of(ctx, &addr, ctx->user_port);
	if (peer) {
		ctx->user_ip4 = addr_word(&peer->addr, 3);
		ctx->user_port = peer->port;
	}
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int pl_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct udp_peer *peer;
	struct addr addr;

	addr_words(&addr, ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]);
	peer = udp_peer_of(ctx, &addr, ctx->user_port);
	if (peer) {
		ctx->user_ip6[0] = addr_word(&peer->addr, 0);
		ctx->user_ip6[1] = addr_word(&peer->addr, 1);
		ctx->user_ip6[2] = addr_word(&peer->addr, 2);
		ctx->user_ip6[3] = addr_word(&peer->addr, 3);
		ctx->user_port = peer->port;
	}
	return ALLOW;
}

/* What the application connected to, for getpeername(2). */
static __always_inline struct socket *translated_socket(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket *socket = sk ? socket_of(sk, bpf_get_socket_cookie(ctx)) : 0;

	return socket && socket->flags & SOCKET_TRANSLATED ? socket : 0;
}

SEC("cgroup/getpeername4")
int pl_getpeername4(struct bpf_sock_addr *ctx)
{
	struct socket *socket = translated_socket(ctx);

	if (socket) {
		ctx->user_ip4 = addr_word(&socket->service, 3);
		ctx->user_port = socket->service_port;
	}
	return ALLOW;
}

SEC("cgroup/getpeername6")
int pl_getpeername6(struct bpf_sock_addr *ctx)
{
	struct socket *socket = translated_socket(ctx);

	if (socket) {
		ctx->user_ip6[0] = addr_word(&socket->service, 0);
		ctx->user_ip6[1] = addr_word(&socket->service, 1);
		ctx->user_ip6[2] = addr_word(&socket->service, 2);
		ctx->user_ip6[3] = addr_word(&socket->service, 3);
		ctx->user_port = socket->service_port;
	}
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
