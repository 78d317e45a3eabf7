// SPDX-License-Identifier: Apache-2.0
/*
 * Somebody else's program on cgroup/connect4: refuses port 9999, and takes port 7777 for 8080, as a load balancer would.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup/connect4")
int other_connect4(struct bpf_sock_addr *ctx)
{
	if (ctx->user_port == bpf_htons(9999))
		return 0;
	if (ctx->user_port == bpf_htons(7777))
		ctx->user_port = bpf_htons(8080);
	return 1;
}

char _license[] SEC("license") = "GPL";
