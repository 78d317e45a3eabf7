/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who listens on a port, so that what is accepted there can be told fit for acceleration: accept(2) has no hook. */
#ifndef PILLION_LISTEN_H
#define PILLION_LISTEN_H

#include "exe.h"

/*
 * False before Linux 5.15, where sockops cannot tell network namespaces apart (get_attach_cookie came with the same release):
 * who listens is not known then, and Auto leaves what is accepted alone.
 */
static __always_inline bool listen_key_of(struct bpf_sock_ops *ctx, struct listen_key *key)
{
	if (!HAS_HELPER(get_attach_cookie))
		return false;
	key->netns = bpf_get_netns_cookie(ctx);
	key->port = ctx->local_port;
	return true;
}

/*
 * A reader that blocks in recv(2) on a socket of the sockhash is told EAGAIN by whatever else wakes it: a signal, room to
 * send for another thread, a reset (net/ipv4/tcp_bpf.c, tcp_msg_wait_data). So Auto is for sockets that do not block.
 */
static __always_inline bool blocks(struct sock *sock)
{
	return !sock || !(BPF_CORE_READ(sock, sk_socket, file, f_flags) & O_NONBLOCK);
}

/* listen(2), in the context of its caller: remember the executable for what will be accepted. */
static __always_inline void listening(struct bpf_sock_ops *ctx)
{
	struct listen_exe fresh = { .listeners = 1, .sock = (__u64)ctx->sk }, *known;
	struct listen_key key = {};

	if (!listen_key_of(ctx, &key) || !current_exe(&fresh.exe))
		return;
	if (!exe_is_plain(&fresh.exe))
		ask_for_exe(&fresh.exe);
	known = bpf_map_lookup_elem(&pl_listen_exes, &key);
	if (known) {
		__sync_fetch_and_add(&known->listeners, 1);
		known->sock = fresh.sock;
		if (known->exe.inode != fresh.exe.inode || known->exe.device != fresh.exe.device)
			known->mixed = 1;
	} else if (bpf_map_update_elem(&pl_listen_exes, &key, &fresh, BPF_NOEXIST)) {
		count(COUNTER_MAP_FULL);
		return;
	}
	/* To hear of its end. What it accepts inherits the flag; established() clears it there. */
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void stopped_listening(struct bpf_sock_ops *ctx)
{
	struct listen_key key = {};
	struct listen_exe *known;

	if (!listen_key_of(ctx, &key))
		return;
	known = bpf_map_lookup_elem(&pl_listen_exes, &key);
	if (!known)
		return;
	__sync_fetch_and_sub(&known->listeners, 1);
	if (!known->listeners)
		bpf_map_delete_elem(&pl_listen_exes, &key);
}

static __always_inline bool listener_is_plain(struct bpf_sock_ops *ctx)
{
	struct listen_key key = {};
	struct listen_exe *known;

	if (!listen_key_of(ctx, &key))
		return false;
	known = bpf_map_lookup_elem(&pl_listen_exes, &key);
	/* Now, not at listen(2): many set the flag after it. */
	return known && !known->mixed && exe_is_plain(&known->exe) && !blocks((struct sock *)known->sock);
}

#endif
