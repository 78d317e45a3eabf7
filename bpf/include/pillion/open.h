/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connections that were open when the policy changed: judged again at their next packet or message. */
#ifndef PILLION_OPEN_H
#define PILLION_OPEN_H

#include "event.h"
#include "flow.h"
#include "identity.h"
#include "policy.h"

/*
 * Who the ends are by now: labels may have changed, or the address belongs to somebody else. A connection of a proxy
 * stays the one's that it is for; a connecting process is known by its cgroup, everybody else by address.
 */
static __always_inline void refresh_identities(struct socket *socket, const struct flow_key *key)
{
	struct workload *workload;

	if (socket->flags & SOCKET_PASSIVE) {
		if (!socket->on_behalf_of)
			socket->src_identity = who_is_at(&key->remote).identity;
		socket->dst_identity = who_is_at(&key->local).identity;
		return;
	}
	socket->dst_identity = who_is_at(&key->remote).identity;
	if (socket->on_behalf_of)
		return;
	workload = bpf_map_lookup_elem(&pl_cgroups, &socket->cgroup);
	if (workload)
		socket->src_identity = workload->identity;
}

/*
 * An open connection is judged again when policy or identities have changed since it was judged last. True: policy
 * forbids it now. `key` names the connection from this socket's side.
 */
static __noinline bool forbidden_by_now(struct socket *socket, struct flow_key *key, __u8 protocol)
{
	const struct settings *config = settings();
	struct verdict_of verdict;
	struct flow_event *event;
	bool passive = socket->flags & SOCKET_PASSIVE;

	if (!config || !(socket->flags & SOCKET_TRACKED))
		return false;
	if (socket->policy_generation == config->policy_generation)
		return socket->flags & SOCKET_DENIED;
	socket->policy_generation = config->policy_generation;
	if (socket->flags & SOCKET_L7)
		return false;
	refresh_identities(socket, key);
	judge_both(socket->src_identity, socket->dst_identity, protocol, passive ? key->local_port : key->remote_port,
		   &verdict);
	if (verdict.allowed) {
		socket->flags &= ~SOCKET_DENIED;
		return false;
	}
	socket->flags |= SOCKET_DENIED;
	event = event_reserve(EVENT_DENY);
	if (!event)
		return true;
	event->src = passive ? key->remote : key->local;
	event->dst = passive ? key->local : key->remote;
	event->src_port = bpf_htons(passive ? key->remote_port : key->local_port);
	event->dst_port = bpf_htons(passive ? key->local_port : key->remote_port);
	event->protocol = protocol;
	event->src_identity = socket->src_identity;
	event->dst_identity = socket->dst_identity;
	event->rule = verdict.rule;
	event->direction = verdict.direction;
	event->flags = EVENT_F_OPEN_CONNECTION | (passive ? EVENT_F_INGRESS : 0);
	event_submit(event);
	return true;
}

#endif
