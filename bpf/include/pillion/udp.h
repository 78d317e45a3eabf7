/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whom a UDP socket has exchanged datagrams with. */
#ifndef PILLION_UDP_H
#define PILLION_UDP_H

#include "common.h"

static __always_inline struct udp_peer *udp_peer_of(struct bpf_sock_addr *ctx, const struct addr *addr, __be16 port)
{
	struct udp_key key = { .cookie = bpf_get_socket_cookie(ctx), .addr = *addr, .port = port };
	struct udp_peer *peer = bpf_map_lookup_elem(&pl_udp_peers, &key);

	return peer && !peer->backend ? peer : 0; /* an entry with a backend is a choice, not a peer */
}

#endif
