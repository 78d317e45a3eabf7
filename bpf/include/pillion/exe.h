/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which executable is calling, so that Auto can tell who might splice(2) (design 4.5). One that is not known yet is asked
 * for with an event; until the agent has answered, its connections are not accelerated.
 */
#ifndef PILLION_EXE_H
#define PILLION_EXE_H

#include "event.h"

static __always_inline bool current_exe(struct exe_key *key)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);

	if (!inode)
		return false;
	key->inode = BPF_CORE_READ(inode, i_ino);
	key->device = BPF_CORE_READ(inode, i_sb, s_dev);
	return true;
}

static __always_inline void ask_for_exe(struct exe_key *key)
{
	struct exe unknown = {};
	struct flow_event *event;

	if (bpf_map_lookup_elem(&pl_executables, key))
		return; /* asked for already */
	event = event_reserve(EVENT_EXE);
	if (!event)
		return; /* and not marked as asked for: the next connection tries again */
	bpf_map_update_elem(&pl_executables, key, &unknown, BPF_NOEXIST);
	event->exe_inode = key->inode;
	event->exe_device = key->device;
	event_process(event);
	event_submit(event);
}

static __always_inline bool exe_is_plain(struct exe_key *key)
{
	struct exe *exe = bpf_map_lookup_elem(&pl_executables, key);

	return exe && exe->verdict == EXE_PLAIN;
}

/* For the calling process. */
static __always_inline bool current_exe_is_plain(void)
{
	struct exe_key key = {};

	if (!current_exe(&key))
		return false;
	if (exe_is_plain(&key))
		return true;
	ask_for_exe(&key);
	return false;
}

#endif
