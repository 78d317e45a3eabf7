/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which executable makes a TCP socket, so that Auto can tell who might splice(2) (design 4.5).
 *
 * Hook: cgroup/sock_create. Reads and writes: pl_executables. Writes: pl_sock_exe, pl_events. Returns: 1.
 *
 * The mark is cloned from a listener to what it accepts. An executable that is not known yet is asked for with an
 * event; its first connections are not accelerated.
 */
#include "include/pillion/event.h"

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

SEC("cgroup/sock_create")
int pl_sock_create(struct bpf_sock *ctx)
{
	struct exe_key key = {}, *mark;
	struct exe unknown = {};
	struct flow_event *event;

	if (ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP || !current_exe(&key))
		return ALLOW;
	mark = bpf_sk_storage_get(&pl_sock_exe, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!mark)
		return ALLOW;
	*mark = key;
	if (bpf_map_lookup_elem(&pl_executables, &key))
		return ALLOW;
	bpf_map_update_elem(&pl_executables, &key, &unknown, BPF_NOEXIST);
	event = event_reserve(EVENT_EXE);
	if (!event)
		return ALLOW;
	event->exe_inode = key.inode;
	event->exe_device = key.device;
	event_process(event);
	event_submit(event);
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
