/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The end of a TCP connection: what it was like is told, what is kept by its addresses goes. */
#ifndef PILLION_CLOSING_H
#define PILLION_CLOSING_H

#include "event.h"
#include "flow.h"
#include "habit.h"
#include "traffic.h"

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

/* What a connection carried, by TCP and around it. */
struct carried {
	__u64 sent;
	__u64 received;
	__u32 retransmits;
	__u32 shifted;
};

/* bytes_received takes a FIN for a byte. */
static __always_inline void measure(struct carried *carried, struct tcp_sock *tp, const struct flow *flow,
				    const struct flow *back)
{
	__u64 received = BPF_CORE_READ(tp, bytes_received);

	if (received && BPF_CORE_READ((struct sock *)tp, __sk_common.skc_flags) & SOCK_DONE)
		received -= 1;
	carried->sent = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	carried->received = received;
	carried->retransmits = BPF_CORE_READ(tp, total_retrans);
	carried->shifted = (flow && flow->shifted) || (back && back->shifted);
	if (!flow)
		return;
	carried->sent += flow->redirected_bytes;
	carried->received += back ? back->redirected_bytes : flow->received_bytes;
}

/* Told once, by release or by TCP, whichever is first. */
static __always_inline void tell_close(struct socket *socket, struct tcp_sock *tp, const struct flow_key *key,
				       __u64 cookie, const struct carried *carried)
{
	struct traffic *sums = traffic_of(socket);
	struct flow_event *event;
	bool passive = socket->flags & SOCKET_PASSIVE;

	if (sums) {
		add(&sums->closed, 1);
		add(&sums->sent_bytes, passive ? carried->received : carried->sent);
		add(&sums->received_bytes, passive ? carried->sent : carried->received);
		add(&sums->retransmits, carried->retransmits);
	}
	event = event_reserve(EVENT_CLOSE);
	if (!event)
		return;
	fill_event(event, socket, key);
	event->flags |= carried->shifted ? EVENT_F_SHIFTED : 0;
	event->cookie = cookie;
	event->duration_ns = event->time_ns - socket->opened_ns;
	event->bytes_sent = carried->sent;
	event->bytes_received = carried->received;
	event->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	event->retransmits = carried->retransmits;
	event_submit(event);
}

static __always_inline void closed(struct socket *socket, struct tcp_sock *tp, struct flow_key *key, __u64 cookie)
{
	struct flow *flow = 0, *back = 0;
	struct carried carried;

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
	if (config_telemetry && socket->flags & SOCKET_REPORTED) {
		measure(&carried, tp, flow, back);
		tell_close(socket, tp, key, cookie, &carried);
	}
	if (flow) {
		learn_stream(socket, key, BPF_CORE_READ(tp, bytes_sent), flow->redirected_bytes);
		if (back) {
			back->received_bytes = flow->redirected_bytes;
			back->shifted |= flow->shifted;
		}
		if (!flow->peer)
			bpf_map_delete_elem(&pl_pairing, key);
		bpf_map_delete_elem(&pl_flows, &cookie);
	}
	socket->flags &= ~(SOCKET_L7 | SOCKET_ACCEL | SOCKET_HABIT | SOCKET_REPORTED);
}

#endif
