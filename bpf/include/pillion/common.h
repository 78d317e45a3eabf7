/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every program includes: kernel types, helpers, our types and maps, counters, addresses. */
#ifndef PILLION_COMMON_H
#define PILLION_COMMON_H

/* clang-format off: linux/bpf.h comes first, libbpf's headers use its types */
#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "kernel.h"
#include "types.h"
#include "maps.h"
/* clang-format on */

/*
 * A 32-bit field of a context, read at a constant offset. Written in assembler, because the compiler merges equal reads
 * of two branches into one behind a computed pointer, which the verifier refuses.
 */
#define CTX_READ(_ctx, _field)                                                                                         \
	({                                                                                                             \
		__u32 _value;                                                                                          \
		asm volatile("%[value] = *(u32 *)(%[ctx] + %[offset])"                                                 \
			     : [value] "=r"(_value)                                                                    \
			     : [ctx] "r"(_ctx), [offset] "i"(__builtin_offsetof(typeof(*(_ctx)), _field)));            \
		_value;                                                                                                \
	})

#define ALLOW 1
#define REFUSE 0

/* For this long after a datagram the other side may answer: conntrack's time-out for UDP. */
#define UDP_REPLY_NS 120000000000ll

/* Signed: a time that another CPU writes between the two reads is in the future. */
static __always_inline bool is_recent(__u64 then_ns)
{
	return then_ns && (__s64)(bpf_ktime_get_ns() - then_ns) < UDP_REPLY_NS;
}

/*
 * What older kernels lack, answered at load from the kernel's own list of helpers; the branch for the other kernel is dead
 * code to the verifier. docs/kernel-support.md says what is lost.
 */
#define HAS_HELPER(_name) bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_##_name)

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&pl_counters, &counter);

	if (value)
		*value += 1;
}

static __always_inline const struct settings *settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pl_settings, &zero);
}

static __always_inline void addr_words(struct addr *addr, __u32 a, __u32 b, __u32 c, __u32 d)
{
	__u32 *words = (__u32 *)addr;

	words[0] = a;
	words[1] = b;
	words[2] = c;
	words[3] = d;
}

static __always_inline void addr_from_ip4(struct addr *addr, __be32 ip)
{
	addr_words(addr, 0, 0, bpf_htonl(0xffff), ip);
}

static __always_inline __be32 addr_word(const struct addr *addr, int i)
{
	return ((const __u32 *)addr)[i];
}

static __always_inline bool addr_is_ip4(const struct addr *addr)
{
	return !addr_word(addr, 0) && !addr_word(addr, 1) && addr_word(addr, 2) == bpf_htonl(0xffff);
}

static __always_inline bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_word(a, 0) == addr_word(b, 0) && addr_word(a, 1) == addr_word(b, 1) &&
	       addr_word(a, 2) == addr_word(b, 2) && addr_word(a, 3) == addr_word(b, 3);
}

/* Loopback and unspecified (connect to it means loopback): inside of one pod, never ours to judge. */
static __always_inline bool addr_is_loopback(const struct addr *addr)
{
	if (addr_is_ip4(addr))
		return (addr_word(addr, 3) & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || !addr_word(addr, 3);
	return !addr_word(addr, 0) && !addr_word(addr, 1) && !addr_word(addr, 2) &&
	       (addr_word(addr, 3) == bpf_htonl(1) || !addr_word(addr, 3));
}

#endif
