/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few fields of kernel structs that we read, relocated at load (CO-RE). Names are the kernel's; order and size are
 * not. Constants that linux/bpf.h does not carry stand here as well.
 */
#ifndef PILLION_KERNEL_H
#define PILLION_KERNEL_H

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_RAW 3
#define TCP_USER_TIMEOUT 18
#define O_NONBLOCK 04000
#define SOCK_DONE (1 << 1) /* bit of skc_flags: a FIN came in */
#define EPERM 1
#define ECONNREFUSED 111
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
};

struct sk_buff_head {
	__u32 qlen;
};

struct sock_common {
	unsigned long skc_flags;
	struct {
		__s64 counter;
	} skc_cookie;
};

struct inode;

struct file {
	struct inode *f_inode;
	unsigned int f_flags;
};

/* The kernel's; ours is in types.h. What follows the three underscores is not part of the name. */
struct socket___kernel {
	struct file *file;
};

struct sock {
	struct sock_common __sk_common;
	struct socket___kernel *sk_socket;
	int sk_rcvlowat;
	struct sk_buff_head sk_receive_queue;
	struct {
		int len;
	} sk_backlog;
	void *sk_user_data;
	unsigned int sk_kern_sock : 1;
};

struct inet_connection_sock {
	const void *icsk_ulp_ops;
};

struct tcp_sock {
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 write_seq;
	__u32 srtt_us; /* << 3 */
	__u32 total_retrans;
	__u32 data_segs_out;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u64 bytes_received;
	__u8 bpf_sock_ops_cb_flags;
};

struct sk_psock {
	struct list_head ingress_msg;
	__u32 msg_tot_len; /* absent in older kernels */
};

struct super_block {
	__u32 s_dev;
};

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct mm_struct {
	struct file *exe_file;
};

struct task_struct {
	struct mm_struct *mm;
	int tgid;
	char comm[16];
};

enum sock_flags {
	SOCK_ZEROCOPY,
};

#pragma clang attribute pop

#endif
