/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Never loaded: the BTF of this object is what tools/gen-layout.ts reads. Types that are neither key nor value of a map
 * (ring buffer, socket options, enums) are absent from BTF unless something refers to them.
 */
#include "include/pillion/common.h"

#define EXPORT(_kind, _name) const _kind _name *export_##_name

EXPORT(struct, origin);
EXPORT(struct, heartbeat);
EXPORT(struct, on_behalf_of);
EXPORT(struct, flow_event);
EXPORT(enum, reserved_identity);
EXPORT(enum, identity_bit);
EXPORT(enum, accel_mode);
EXPORT(enum, addr_flag);
EXPORT(enum, failure_mode);
EXPORT(enum, direction);
EXPORT(enum, verdict);
EXPORT(enum, pillion_sockopt);
EXPORT(enum, proxy_state);
EXPORT(enum, exe_verdict);
EXPORT(enum, counter);
EXPORT(enum, event_kind);
EXPORT(enum, event_flag);
EXPORT(enum, telemetry);
EXPORT(enum, socket_flag);

char _license[] SEC("license") = "Dual BSD/GPL";
