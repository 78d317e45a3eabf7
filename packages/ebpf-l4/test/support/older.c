// SPDX-License-Identifier: Apache-2.0
/*
 * older HOW TEXT ADDRESS PORT CGROUP: sends TEXT from within CGROUP with a socket that is older than the process's place there.
 * HOW is created, connected (prints "ready", goes on with a line on stdin) or passed (to a child that is in CGROUP
 * already), then -tcp or -udp. Prints what vector.c prints.
 */
#include "vector.h"
#include <sys/wait.h>

static const char *cgroup;

static void wait_for_test(void)
{
	puts("ready"); /* a line on stdin: go on */
	fflush(stdout);
	if (getchar() == EOF)
		exit(1);
}

static void join(void)
{
	char path[4096];
	FILE *procs;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	procs = fopen(path, "w");
	if (!procs || fprintf(procs, "%d", getpid()) < 0 || fclose(procs))
		check(-1);
}

static void created_before(int type)
{
	int fd = open_socket(type, 0);

	join();
	connect_to(fd);
	write_text(fd);
}

static void connected_before(int type)
{
	int fd = open_socket(type, 0);

	connect_to(fd);
	join();
	wait_for_test();
	write_text(fd);
}

/* The parent stays where it is; its child, in the pod, is given the descriptor. */
static void passed(int type)
{
	int fd = open_socket(type, 0), pair[2], status;
	char control[CMSG_SPACE(sizeof(int))] = {}, byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	if (!fork()) {
		close(fd);
		join();
		check(recvmsg(pair[1], &message, 0));
		memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
		connect_to(fd);
		write_text(fd);
		done("sent");
	}
	*rights = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
				    .cmsg_type = SCM_RIGHTS,
				    .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	check(sendmsg(pair[0], &message, 0));
	check(wait(&status));
	exit(0);
}

int main(int argc, char **argv)
{
	const char *kind = argc == 6 ? strchr(argv[1], '-') : 0;
	int type;

	if (!kind)
		return 2;
	type = strcmp(kind, "-tcp") ? SOCK_DGRAM : SOCK_STREAM;
	text = argv[2];
	parse_destination(argv[3], argv[4]);
	cgroup = argv[5];
	if (!strncmp(argv[1], "created", kind - argv[1]))
		created_before(type);
	else if (!strncmp(argv[1], "connected", kind - argv[1]))
		connected_before(type);
	else
		passed(type);
	done("sent");
}
