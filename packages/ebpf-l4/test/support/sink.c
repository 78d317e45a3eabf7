// SPDX-License-Identifier: Apache-2.0
/* sink PORT: prints what arrives there by TCP, UDP and UDP-Lite, both families, a line each; "ready" when it listens. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 64

static int bound(int type, int protocol, int port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type, protocol);

	if (fd < 0 && errno == EPROTONOSUPPORT)
		return -1;
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) || (type == SOCK_STREAM && listen(fd, MOST))) {
		perror("sink");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	int port = argc == 2 ? atoi(argv[1]) : 0;
	struct pollfd ends[MOST] = {
		{ .fd = bound(SOCK_STREAM, IPPROTO_TCP, port) },
		{ .fd = bound(SOCK_DGRAM, IPPROTO_UDP, port) },
		{ .fd = bound(SOCK_DGRAM, IPPROTO_UDPLITE, port) },
	};
	char text[2048];
	int count = 3;

	for (int i = 0; i < MOST; i++)
		ends[i].events = POLLIN;
	puts("ready");
	fflush(stdout);
	while (poll(ends, count, -1) > 0) {
		for (int i = count - 1; i > 0; i--) {
			ssize_t length = ends[i].revents ? recv(ends[i].fd, text, sizeof(text), MSG_DONTWAIT) : -1;

			if (length > 0)
				printf("%.*s\n", (int)length, text);
			if (i > 2 && ends[i].revents && length <= 0) {
				close(ends[i].fd);
				ends[i] = ends[--count];
			}
		}
		fflush(stdout);
		if (ends[0].revents && count < MOST)
			ends[count++].fd = accept(ends[0].fd, 0, 0);
	}
	return 1;
}
