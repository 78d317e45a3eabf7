/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses, ports and flags of a packet. What cannot be parsed is for the caller to refuse. */
#ifndef PILLION_PACKET_H
#define PILLION_PACKET_H

#include "common.h"

#define IPPROTO_HOPOPTS_ 0
#define IPPROTO_ROUTING_ 43
#define IPPROTO_FRAGMENT_ 44
#define IPPROTO_DSTOPTS_ 60
#define IPPROTO_ICMPV6_ 58
#define MAX_EXTENSIONS 6

struct packet {
	struct addr src;
	struct addr dst;
	__u16 src_port; /* host order */
	__u16 dst_port;
	__u8 protocol;
	__u8 first_fragment; /* 0: a later fragment, without ports */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u32 header; /* of the protocol, from the start of the packet */
};

static __always_inline int parse_ip4(struct __sk_buff *skb, struct packet *packet)
{
	__u8 head[20];
	__be32 word;
	__u16 fragment;

	if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)))
		return -1;
	packet->protocol = head[9];
	fragment = (__u16)head[6] << 8 | head[7];
	packet->first_fragment = !(fragment & 0x1fff);
	__builtin_memcpy(&word, head + 12, 4);
	addr_from_ip4(&packet->src, word);
	__builtin_memcpy(&word, head + 16, 4);
	addr_from_ip4(&packet->dst, word);
	return (head[0] & 0xf) * 4;
}

/* Extension headers are walked to a bound: more than that is nobody's honest packet. */
static __always_inline int parse_ip6(struct __sk_buff *skb, struct packet *packet)
{
	__u8 head[40], next[4];
	int offset = 40;

	if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)))
		return -1;
	packet->protocol = head[6];
	packet->first_fragment = 1;
	__builtin_memcpy(&packet->src, head + 8, 16);
	__builtin_memcpy(&packet->dst, head + 24, 16);
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u8 header = packet->protocol;

		if (header != IPPROTO_HOPOPTS_ && header != IPPROTO_ROUTING_ && header != IPPROTO_FRAGMENT_ &&
		    header != IPPROTO_DSTOPTS_)
			return offset;
		if (bpf_skb_load_bytes(skb, offset, next, sizeof(next)))
			return -1;
		packet->protocol = next[0];
		if (header == IPPROTO_FRAGMENT_) {
			if (((__u16)next[2] << 8 | next[3]) & 0xfff8)
				packet->first_fragment = 0;
			offset += 8;
			if (!packet->first_fragment)
				return offset;
		} else {
			offset += (next[1] + 1) * 8;
		}
	}
	return -1;
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *packet)
{
	__be16 ports[2];
	int offset;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		offset = parse_ip4(skb, packet);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		offset = parse_ip6(skb, packet);
	else
		return -1;
	if (offset < 0 || !packet->first_fragment)
		return offset < 0 ? -1 : 0;
	if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6_)
		return bpf_skb_load_bytes(skb, offset, &packet->icmp_type, 1) ? -1 : 0;
	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP && packet->protocol != IPPROTO_UDPLITE &&
	    packet->protocol != IPPROTO_SCTP)
		return 0;
	packet->header = offset;
	if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)))
		return -1;
	packet->src_port = bpf_ntohs(ports[0]);
	packet->dst_port = bpf_ntohs(ports[1]);
	if (packet->protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, offset + 13, &packet->tcp_flags, 1))
		return -1;
	return 0;
}

#endif
