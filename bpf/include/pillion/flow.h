/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Four-tuples of TCP connections, and how an accepted one is recognised. */
#ifndef PILLION_FLOW_H
#define PILLION_FLOW_H

#include "common.h"

/* Callback flags of an accepted connection that has no socket storage; any other has more flags, or none. */
#define ACCEPTED_CB_FLAGS BPF_SOCK_OPS_RTO_CB_FLAG

static __always_inline void flow_key_reverse(const struct flow_key *key, struct flow_key *out)
{
	out->local = key->remote;
	out->remote = key->local;
	out->local_port = key->remote_port;
	out->remote_port = key->local_port;
}

#endif
