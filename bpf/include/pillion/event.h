/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Evidence for user space: reserve, fill, submit. What cannot be reserved is counted. */
#ifndef PILLION_EVENT_H
#define PILLION_EVENT_H

#include "common.h"

/* The reader polls; it is never woken per event, which would cost a connection set-up more than the event itself. */
#define EVENT_SUBMIT_FLAGS BPF_RB_NO_WAKEUP

static __always_inline struct flow_event *event_reserve(__u8 kind)
{
	struct flow_event *event = bpf_ringbuf_reserve(&pl_events, sizeof(*event), 0);

	if (!event) {
		count(COUNTER_EVENT_LOST);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->time_ns = bpf_ktime_get_ns();
	return event;
}

static __always_inline void event_submit(struct flow_event *event)
{
	bpf_ringbuf_submit(event, EVENT_SUBMIT_FLAGS);
}

static __always_inline void event_process(struct flow_event *event)
{
	event->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
}

#endif
