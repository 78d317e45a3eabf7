/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Policy at the destination, and for protocols that never call connect.
 *
 * Hooks: cgroup_skb/ingress and cgroup_skb/egress. Reads: pl_cgroups, pl_addresses, pl_subjects, pl_rules, pl_connections,
 * pl_sockets,
 * pl_udp_peers, pl_settings. Writes: pl_sockets, pl_udp_peers, pl_events, pl_counters.
 * Returns: 1 pass; 0 drop: policy denies, or the packet cannot be parsed (fail closed).
 *
 * TCP is judged at the SYN; packets of open connections only compare a generation number. UDP is judged per datagram,
 * except answers. Everything else meets both directions as (protocol, any port).
 */
#include "include/pillion/behalf.h"
#include "include/pillion/open.h"
#include "include/pillion/packet.h"
#include "include/pillion/identity.h"
#include "include/pillion/shadow.h"
#include "include/pillion/socket.h"

#define ICMP_ECHO_REQUEST 8
#define ICMPV6_ECHO_REQUEST_ 128
#define ICMPV6_LISTENER_QUERY 130
#define ICMPV6_REDIRECT 137
#define ICMPV6_LISTENER_REPORT2 143
#define LOOPBACK_IFINDEX 1 /* net/core/net_namespace.c gives it to lo in every namespace */
#define UDP_REFRESH_NS 1000000000ll
#define TCP_SYN 0x02
#define TCP_ACK 0x10

static __noinline void report(struct __sk_buff *skb, struct packet *packet, struct verdict_of *verdict,
			      __u64 identities)
{
	struct flow_event *event = event_reserve(EVENT_DENY);

	if (!event)
		return;
	event->cookie = bpf_get_socket_cookie(skb);
	event->src = packet->src;
	event->dst = packet->dst;
	event->src_port = bpf_htons(packet->src_port);
	event->dst_port = bpf_htons(packet->dst_port);
	event->protocol = packet->protocol;
	event->src_identity = identities >> 32;
	event->dst_identity = (__u32)identities;
	event->rule = verdict->rule;
	event->direction = verdict->direction;
	event->flags = EVENT_F_INGRESS;
	event_submit(event);
}

/*
 * Memory of a connection that was accepted without (sockops.bpf.c). Judged as of an earlier generation; identities are
 * looked up then. Sockets that were open before the programs were have other flags, and no memory.
 */
static __always_inline struct socket *late_socket(struct __sk_buff *skb, struct bpf_sock *sk, __u32 generation)
{
	struct tcp_sock *tp = sk->protocol == IPPROTO_TCP ? bpf_skc_to_tcp_sock(sk) : 0;
	struct socket *socket;

	if (!tp || skb->ifindex == LOOPBACK_IFINDEX || BPF_CORE_READ(tp, bpf_sock_ops_cb_flags) != ACCEPTED_CB_FLAGS)
		return 0;
	socket = bpf_sk_storage_get(&pl_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket)
		return 0;
	socket->flags = SOCKET_PASSIVE | SOCKET_TRACKED | SOCKET_LOCAL;
	socket->policy_generation = generation - 1;
	socket->opened_ns = bpf_ktime_get_ns();
	return socket;
}

/* An open TCP connection or connected UDP socket: one comparison, unless the policy has changed. */
static __always_inline int open_connection(struct __sk_buff *skb, struct bpf_sock *sk, bool outgoing)
{
	const struct settings *config = settings();
	struct flow_key key = {};
	struct packet packet = {};
	struct socket *socket;

	if (!config)
		return ALLOW;
	socket = socket_of(sk, bpf_get_socket_cookie(skb));
	if (!socket)
		socket = late_socket(skb, sk, config->policy_generation);
	if (!socket)
		return ALLOW;
	if (socket->policy_generation == config->policy_generation && !(socket->flags & SOCKET_DENIED))
		return ALLOW;
	if (parse(skb, &packet))
		return REFUSE;
	key.local = outgoing ? packet.src : packet.dst;
	key.remote = outgoing ? packet.dst : packet.src;
	key.local_port = outgoing ? packet.src_port : packet.dst_port;
	key.remote_port = outgoing ? packet.dst_port : packet.src_port;
	if (!forbidden_by_now(socket, &key, sk->protocol))
		return ALLOW;
	count(COUNTER_DENY_OPEN);
	return REFUSE;
}

static __always_inline struct udp_peer *udp_peer(struct __sk_buff *skb, struct packet *packet, struct udp_key *key)
{
	struct udp_peer *peer;

	key->cookie = bpf_get_socket_cookie(skb);
	key->addr = packet->src;
	key->port = bpf_htons(packet->src_port);
	peer = bpf_map_lookup_elem(&pl_udp_peers, key);
	return peer && !peer->backend ? peer : 0;
}

/*
 * Remember who was let in, so that this socket may answer: the answer would meet our egress policy and the asker's
 * ingress policy. Where neither exists, nothing needs to be remembered.
 */
static __always_inline void expect_udp_reply(struct __sk_buff *skb, struct packet *packet, __u32 self, __u32 asker)
{
	struct subject_key egress = { .identity = self, .direction = DIRECTION_EGRESS };
	struct subject_key ingress = { .identity = asker, .direction = DIRECTION_INGRESS };
	struct udp_key key = {};
	struct udp_peer *known, peer = {};

	if (!has_shadow() && !bpf_map_lookup_elem(&pl_subjects, &egress) &&
	    !bpf_map_lookup_elem(&pl_subjects, &ingress))
		return;
	known = udp_peer(skb, packet, &key);
	if (known) {
		known->received_ns = bpf_ktime_get_ns();
		return;
	}
	peer.addr = key.addr;
	peer.port = key.port;
	peer.received_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&pl_udp_peers, &key, &peer, BPF_ANY);
}

static __always_inline bool answers_us(struct __sk_buff *skb, struct packet *packet)
{
	struct udp_key key = {};
	struct udp_peer *peer = udp_peer(skb, packet, &key);

	return peer && is_recent(peer->sent_ns);
}

/*
 * Neighbour discovery and multicast listening (RFC 4861, 3810) must pass for anything to work. Errors and answers pass to
 * whoever waits for them. What a process sends itself, by a raw or a ping socket, is judged like any datagram: an
 * echo request carries what one likes. The kernel's own errors and answers come from no socket of a pod.
 */
static __always_inline bool is_signalling(const struct packet *packet, bool outgoing)
{
	__u8 type = packet->icmp_type;

	if (packet->protocol == IPPROTO_ICMPV6_)
		return (type >= ICMPV6_LISTENER_QUERY && type <= ICMPV6_REDIRECT) || type == ICMPV6_LISTENER_REPORT2 ||
		       (!outgoing && type != ICMPV6_ECHO_REQUEST_);
	return packet->protocol == IPPROTO_ICMP && !outgoing && type != ICMP_ECHO_REQUEST;
}

/* Who sends. Another node's proxy says for whom. */
static __always_inline struct addr_info source_of(struct __sk_buff *skb, const struct packet *packet)
{
	struct addr_info info = who_is_at(&packet->src);
	__u32 client;

	if (packet->protocol != IPPROTO_TCP || !is_other_node(&info))
		return info;
	client = behalf_in_syn(skb, packet->header);
	if (client)
		info.identity = client;
	return info;
}

/* `ingress` in `attempt` says whose policies are asked, as in shadow.h. */
static __always_inline void shadow(struct __sk_buff *skb, const struct packet *packet, __u32 src, __u32 dst,
				   bool outgoing)
{
	struct attempt attempt = {
		.src = packet->src,
		.dst = packet->dst,
		.cookie = bpf_get_socket_cookie(skb),
		.src_identity = src,
		.dst_identity = dst,
		.port = packet->dst_port,
		.protocol = packet->protocol,
		.ingress = 1,
	};

	if (outgoing)
		judge_shadow(&attempt);
	else if (src != IDENTITY_HOST)
		shadow_denies(&attempt, dst, src, DIRECTION_SHADOW_INGRESS);
}

SEC("cgroup_skb/ingress")
int pl_ingress(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct verdict_of verdict;
	struct addr_info src, dst;
	struct who who;

	struct bpf_sock *sk = skb->sk;

	/* By far most packets: of an open connection. They are not even parsed. */
	sk = sk ? bpf_sk_fullsock(sk) : 0;
	if (sk && sk->protocol == IPPROTO_TCP && sk->type == SOCK_STREAM && sk->state != BPF_TCP_LISTEN)
		return open_connection(skb, sk, false);
	if (parse(skb, &packet)) {
		count(COUNTER_PARSE_ERROR);
		return REFUSE;
	}
	if (packet.protocol == IPPROTO_TCP && (packet.tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return ALLOW; /* completes a handshake whose SYN was judged */
	/* By device, not by address: what is on lo comes from the same namespace, a source can be written by anyone. */
	if (!packet.first_fragment || skb->ifindex == LOOPBACK_IFINDEX || is_signalling(&packet, false))
		return ALLOW;
	who_owns_skb(&who, skb);
	src = source_of(skb, &packet);
	dst = who_is_at(&packet.dst);
	judge_both(src.identity, who.identity, packet.protocol, packet.dst_port, &verdict);
	/* A socket made elsewhere and brought into the pod (SCM_RIGHTS, a process that moved): the address counts as well. */
	if (verdict.allowed && dst.identity != who.identity && (dst.flags & (ADDR_LOCAL | ADDR_NODE)) == ADDR_LOCAL)
		judge_both(src.identity, dst.identity, packet.protocol, packet.dst_port, &verdict);
	if (verdict.allowed) {
		if (has_shadow() && !(src.flags & ADDR_LOCAL) &&
		    !(packet.protocol == IPPROTO_UDP && answers_us(skb, &packet)))
			shadow(skb, &packet, src.identity, who.identity, false);
		if (packet.protocol == IPPROTO_UDP)
			expect_udp_reply(skb, &packet, who.identity, src.identity);
		return ALLOW;
	}
	if (packet.protocol == IPPROTO_UDP && answers_us(skb, &packet))
		return ALLOW;
	count(verdict.direction == DIRECTION_EGRESS ? COUNTER_DENY_EGRESS : COUNTER_DENY_INGRESS);
	report(skb, &packet, &verdict, (__u64)src.identity << 32 | who.identity);
	return REFUSE;
}

/*
 * What an open TCP connection sends is judged where it arrives, if that is one of ours: there a drop is a loss, and the
 * sender's retransmission timer tells its owner. A drop here is silence, so it is for those whom nobody judges.
 */
static __always_inline int open_to_world(struct __sk_buff *skb, struct bpf_sock *sk)
{
	const struct settings *config = settings();
	struct socket *socket;

	if (!config || !config->has_policy)
		return ALLOW;
	socket = socket_of(sk, bpf_get_socket_cookie(skb));
	if (!socket || socket->flags & SOCKET_PASSIVE || !is_outside(socket->dst_identity))
		return ALLOW;
	return open_connection(skb, sk, true);
}

/*
 * Connected to an endpoint that is gone: its address may be another pod's by now. EPERM for the sender is an error that
 * clients answer with a new connect, which is balanced; nothing at all would be a time-out.
 */
static __always_inline bool endpoint_is_gone(struct bpf_sock *sk, const struct udp_key *peer)
{
	struct socket *socket = bpf_sk_storage_get(&pl_sockets, sk, 0, 0);
	struct backend *backend;

	if (!socket || !socket->backend)
		return false;
	backend = bpf_map_lookup_elem(&pl_backends, &socket->backend);
	return !backend || backend->port != peer->port || !addr_equal(&backend->addr, &peer->addr);
}

/*
 * A datagram on a connected socket: no other hook sees it. The permission for answers is kept fresh, and a policy that
 * has come since the connect is obeyed. A socket that is not connected was judged by sendmsg.
 */
static __always_inline int connected_datagram(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct udp_key key = {};
	struct udp_peer *peer;

	if (sk->state != BPF_TCP_ESTABLISHED)
		return ALLOW;
	if (open_connection(skb, sk, true) == REFUSE)
		return REFUSE;
	key.cookie = bpf_get_socket_cookie(skb);
	if (sk->family == AF_INET)
		addr_from_ip4(&key.addr, CTX_READ(sk, dst_ip4));
	else
		addr_words(&key.addr, CTX_READ(sk, dst_ip6[0]), CTX_READ(sk, dst_ip6[1]), CTX_READ(sk, dst_ip6[2]),
			   CTX_READ(sk, dst_ip6[3]));
	key.port = sk->dst_port;
	if (endpoint_is_gone(sk, &key)) {
		count(COUNTER_UDP_GONE);
		return REFUSE;
	}
	peer = bpf_map_lookup_elem(&pl_udp_peers, &key);
	if (peer && peer->sent_ns && (__s64)(bpf_ktime_get_ns() - peer->sent_ns) > UDP_REFRESH_NS)
		peer->sent_ns = bpf_ktime_get_ns();
	return ALLOW;
}

/* TCP and UDP were judged at connect and sendmsg; raw sockets, UDP-Lite and the like come by only here. */
SEC("cgroup_skb/egress")
int pl_egress(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct verdict_of verdict;
	struct addr_info dst;
	struct bpf_sock *sk = skb->sk;
	struct who who;

	/* No full socket: the kernel answers for a listener (SYN-ACK, RST), which ingress has judged. */
	sk = sk ? bpf_sk_fullsock(sk) : 0;
	if (!sk)
		return ALLOW;
	if (sk->type != SOCK_RAW && sk->protocol == IPPROTO_TCP)
		return open_to_world(skb, sk);
	if (sk->type != SOCK_RAW && sk->protocol == IPPROTO_UDP)
		return connected_datagram(skb, sk);
	if (parse(skb, &packet)) {
		count(COUNTER_PARSE_ERROR);
		return REFUSE;
	}
	if (!packet.first_fragment || skb->ifindex == LOOPBACK_IFINDEX || is_signalling(&packet, true))
		return ALLOW;
	who_owns_skb(&who, skb);
	dst = who_is_at(&packet.dst);
	judge_both(who.identity, dst.identity, packet.protocol, packet.dst_port, &verdict);
	if (verdict.allowed) {
		if (has_shadow())
			shadow(skb, &packet, who.identity, dst.identity, true);
		return ALLOW;
	}
	count(verdict.direction == DIRECTION_EGRESS ? COUNTER_DENY_EGRESS : COUNTER_DENY_INGRESS);
	report(skb, &packet, &verdict, (__u64)who.identity << 32 | dst.identity);
	return REFUSE;
}

char _license[] SEC("license") = "Dual BSD/GPL";
