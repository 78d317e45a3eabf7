/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the memory of a socket is. A TCP socket that connects has an entry in pl_connections: making and freeing socket
 * storage, which is given back by RCU, would be the dearest part of a short connection. Every other socket has socket
 * storage, which the kernel frees with the socket; so has a connection that found the map full.
 *
 * The key is the address of the socket, not its cookie: addresses are used again at once, so that a short connection
 * finds its bucket in the cache; by cookie, each would touch cold memory. An entry that outlived its socket is
 * recognised by the cookie in it.
 */
#ifndef PILLION_SOCKET_H
#define PILLION_SOCKET_H

#include "common.h"

static __always_inline struct socket *connection_of(void *sk, __u64 cookie)
{
	__u64 address = (__u64)sk;
	struct socket *socket = bpf_map_lookup_elem(&pl_connections, &address);

	return socket && socket->cookie == cookie ? socket : 0;
}

static __always_inline struct socket *socket_of(struct bpf_sock *sk, __u64 cookie)
{
	struct socket *socket = connection_of(sk, cookie);

	return socket ? socket : bpf_sk_storage_get(&pl_sockets, sk, 0, 0);
}

#endif
