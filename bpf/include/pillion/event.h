/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Evidence for user space: reserve, fill, submit. What cannot be reserved is counted. */
#ifndef PILLION_EVENT_H
#define PILLION_EVENT_H

#include "telemetry.h"

/* The reader polls; it is never woken per event, which would cost a connection set-up more than the event itself. */
#define EVENT_SUBMIT_FLAGS BPF_RB_NO_WAKEUP

/*
 * What nobody refused gives way to denials: it is dropped, and counted, while a quarter of the buffer waits to be read.
 */
#define EVENT_BACKLOG_LIMIT (1 << 19)

static __always_inline struct flow_event *event_reserve(__u8 kind)
{
	bool needed = kind == EVENT_DENY || kind == EVENT_EXE;
	struct flow_event *event = 0;

	if (!needed && config_telemetry < TELEMETRY_ALL)
		return 0;
	if (needed || bpf_ringbuf_query(&pl_events, BPF_RB_AVAIL_DATA) < EVENT_BACKLOG_LIMIT)
		event = bpf_ringbuf_reserve(&pl_events, sizeof(*event), 0);
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

/* The calling process; only in hooks that run in its context. Read by CO-RE: sockops has no helper for it. */
static __always_inline void event_process(struct flow_event *event)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	event->pid = BPF_CORE_READ(task, tgid);
	BPF_CORE_READ_INTO(&event->comm, task, comm);
}

#endif
