/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How much is told of connections that nobody refuses. A constant: what is left out costs nothing. */
#ifndef PILLION_TELEMETRY_H
#define PILLION_TELEMETRY_H

#include "common.h"

/* Written by the loader. Denials are told in any case. */
const volatile __u32 config_telemetry = TELEMETRY_ALL;

#endif
