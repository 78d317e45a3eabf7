/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The end of a TCP connection: what it was like is told, what is kept by its addresses goes. */
#ifndef PILLION_CLOSING_H
#define PILLION_CLOSING_H

#include "event.h"
#include "flow.h"
#include "habit.h"

static __always_inline void fill_event(struct flow_event *event, const struct socket *socket,
				       const struct flow_key *key)
{
	bool passive = socket->flags & SOCKET_PASSIVE;

	event->src = passive ? key->remote : key->local;
	event->dst = passive ? key->local : key->remote;
	event->src_port = bpf_htons(passive ? key->remote_port : key->local_port);
	event->dst_port = bpf_htons(passive ? key->local_port : key->remote_port);
	event->service = socket->service;
	event->service_port = socket->service_port;
	event->protocol = IPPROTO_TCP;
	event->src_identity = socket->src_identity;
	event->dst_identity = socket->dst_identity;
	event->flags = (passive ? EVENT_F_INGRESS : 0) | (socket->flags & SOCKET_L7 ? EVENT_F_L7 : 0) |
		       (socket->flags & SOCKET_ACCEL ? EVENT_F_ACCEL : 0);
	event->pid = socket->pid;
	__builtin_memcpy(event->comm, socket->comm, sizeof(event->comm));
}

/* Payload that TCP carried, or still has to: bytes_received takes a FIN for a byte. */
static __always_inline void add_tcp_bytes(struct flow_event *event, struct tcp_sock *tp)
{
	__u64 received = BPF_CORE_READ(tp, bytes_received);

	if (BPF_CORE_READ((struct sock *)tp, __sk_common.skc_flags) & SOCK_DONE && received)
		received -= 1;
	event->bytes_sent += BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	event->bytes_received += received;
}

static __always_inline void closed(struct socket *socket, struct tcp_sock *tp, struct flow_key *key, __u64 cookie)
{
	struct flow_event *event;
	struct flow *flow = 0, *back = 0;

	if (socket->flags & SOCKET_L7) {
		struct origin_key origin_key = { .addr = key->local, .port = bpf_htons(key->local_port) };

		bpf_map_delete_elem(&pl_origins, &origin_key);
	}
	if (socket->flags & SOCKET_ACCEL)
		flow = bpf_map_lookup_elem(&pl_flows, &cookie);
	if (flow && flow->peer)
		back = bpf_map_lookup_elem(&pl_flows, &flow->peer);
	if (socket->flags & SOCKET_HABIT)
		learn_habit(socket, key, flow ? flow->messages : BPF_CORE_READ(tp, data_segs_out));
	if (socket->flags & SOCKET_REPORTED) {
		event = event_reserve(EVENT_CLOSE);
		if (event) {
			fill_event(event, socket, key);
			event->cookie = cookie;
			event->duration_ns = event->time_ns - socket->opened_ns;
			event->bytes_sent = flow ? flow->redirected_bytes : 0;
			event->bytes_received = back ? back->redirected_bytes : flow ? flow->received_bytes : 0;
			add_tcp_bytes(event, tp);
			event->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
			event->retransmits = BPF_CORE_READ(tp, total_retrans);
			event_submit(event);
		}
	}
	if (flow) {
		if (back)
			back->received_bytes = flow->redirected_bytes;
		if (!flow->peer)
			bpf_map_delete_elem(&pl_pairing, key);
		bpf_map_delete_elem(&pl_flows, &cookie);
	}
	/* Told once, by release or by TCP, whichever is first. */
	socket->flags &= ~(SOCKET_L7 | SOCKET_ACCEL | SOCKET_HABIT | SOCKET_REPORTED);
}

#endif
