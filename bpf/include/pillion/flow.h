/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Four-tuples of TCP connections. */
#ifndef PILLION_FLOW_H
#define PILLION_FLOW_H

#include "common.h"

static __always_inline void flow_key_reverse(const struct flow_key *key, struct flow_key *out)
{
	out->local = key->remote;
	out->remote = key->local;
	out->local_port = key->remote_port;
	out->remote_port = key->local_port;
}

#endif
