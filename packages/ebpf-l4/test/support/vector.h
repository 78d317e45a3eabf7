// SPDX-License-Identifier: Apache-2.0
/* What vector.c and older.c share: a destination, a text, and one word as the result. */
#ifndef VECTOR_H
#define VECTOR_H

#define _GNU_SOURCE /* memmem, strerrorname_np */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_US 400000

static struct sockaddr_storage to;
static socklen_t to_length;
static const char *text;

/* The result is what the test compares: exactly one word. */
static void done(const char *word)
{
	puts(word);
	exit(0);
}

static void check(long result)
{
	if (result >= 0)
		return;
	done(errno == EAGAIN || errno == EINPROGRESS || errno == ETIMEDOUT ? "silence" : strerrorname_np(errno));
}

static int open_socket(int type, int protocol)
{
	struct timeval limit = { .tv_usec = TIMEOUT_US };
	int fd = socket(to.ss_family, type, protocol);

	check(fd);
	check(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	return fd;
}

static void connect_to(int fd)
{
	check(connect(fd, (struct sockaddr *)&to, to_length));
}

static void write_text(int fd)
{
	check(send(fd, text, strlen(text), MSG_NOSIGNAL));
}

static void parse_destination(const char *address, const char *port)
{
	struct sockaddr_in *to4 = (void *)&to;
	struct sockaddr_in6 *to6 = (void *)&to;

	if (inet_pton(AF_INET, address, &to4->sin_addr) == 1)
		to.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, address, &to6->sin6_addr) == 1)
		to.ss_family = AF_INET6;
	to6->sin6_port = htons(atoi(port)); /* at the same place in both families */
	to_length = to.ss_family == AF_INET ? sizeof(*to4) : sizeof(*to6);
}

#endif
