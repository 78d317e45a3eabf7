/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whom a connection of a node's proxy is for, told to the destination's node in a TCP option (design 4.6): kind 254 of
 * RFC 6994, eight bytes. The SYN carries it for the policy; so does every segment until the first acknowledgement of data,
 * because the program that sees the connection established is shown the segment that completed the handshake and not
 * the SYN. Believed only from a node's own address.
 */
#ifndef PILLION_BEHALF_H
#define PILLION_BEHALF_H

#include "common.h"

#define TCPOPT_EOL 0
#define TCPOPT_NOP 1
#define TCPOPT_EXPERIMENT 254
#define PILLION_EXID 0x7069 /* RFC 6994, section 3 */
#define TCP_HEADER 20
/* Forty bytes of options have no more than this many before ours, and ours is eight. */
#define MAX_OPTIONS 33

struct behalf_option {
	__u8 kind;
	__u8 length;
	__be16 exid;
	__be32 identity;
};

/* Another node's own address: only its processes, the proxy above all, can send from there. */
static __always_inline bool is_other_node(const struct addr_info *info)
{
	return (info->flags & (ADDR_NODE | ADDR_LOCAL)) == ADDR_NODE;
}

/* The identity in the options of the SYN whose TCP header is at `offset`; 0: none. */
static __always_inline __u32 behalf_in_syn(struct __sk_buff *skb, __u32 offset)
{
	struct behalf_option option;
	__u32 at = offset + TCP_HEADER, end;
	__u8 words;

	if (bpf_skb_load_bytes(skb, offset + 12, &words, 1))
		return 0;
	end = offset + (words >> 4) * 4;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		if (at + sizeof(option) > end || bpf_skb_load_bytes(skb, at, &option, sizeof(option)))
			return 0;
		if (option.kind == TCPOPT_EOL)
			return 0;
		if (option.kind == TCPOPT_EXPERIMENT && option.length == sizeof(option) &&
		    option.exid == bpf_htons(PILLION_EXID))
			return bpf_ntohl(option.identity);
		if (option.kind != TCPOPT_NOP && option.length < 2)
			return 0;
		at += option.kind == TCPOPT_NOP ? 1 : option.length;
	}
	return 0;
}

/* The same in the segment that completed a handshake. */
static __always_inline __u32 behalf_in_handshake(struct bpf_sock_ops *ctx)
{
	struct behalf_option option = { .kind = TCPOPT_EXPERIMENT, .length = 4, .exid = bpf_htons(PILLION_EXID) };

	if (bpf_load_hdr_opt(ctx, &option, sizeof(option), 0) != sizeof(option))
		return 0;
	return bpf_ntohl(option.identity);
}

static __always_inline void write_behalf(struct bpf_sock_ops *ctx, __u32 identity)
{
	struct behalf_option option = { .kind = TCPOPT_EXPERIMENT,
					.length = sizeof(option),
					.exid = bpf_htons(PILLION_EXID),
					.identity = bpf_htonl(identity) };

	bpf_store_hdr_opt(ctx, &option, sizeof(option), 0);
}

#endif
