// SPDX-License-Identifier: Apache-2.0
/*
 * waitall PORT FIRST REST: accepts one connection whose byte at offset n is n % 251. Reads FIRST bytes as they come, says
 * "k", then asks for REST bytes with MSG_WAITALL (3 s) and prints what it got. After a byte on stdin it says "a" and reads
 * to the end of the stream.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#define PERIOD 251

static unsigned char buffer[1 << 20];

static void report(const char *what, size_t offset, ssize_t bytes)
{
	size_t wrong = 0;

	for (ssize_t i = 0; i < bytes; i++)
		wrong += buffer[i] != (offset + i) % PERIOD;
	printf("%s %zd wrong %zu\n", what, bytes, wrong);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 local = { .sin6_family = AF_INET6, .sin6_port = htons(argc > 1 ? atoi(argv[1]) : 0) };
	struct timeval limit = { .tv_sec = 3 };
	size_t first, rest, got = 0;
	ssize_t bytes, tail = 0;
	int listener, fd;

	if (argc != 4)
		return 2;
	first = atol(argv[2]);
	rest = atol(argv[3]);
	listener = socket(AF_INET6, SOCK_STREAM, 0);
	if (rest > sizeof(buffer) || bind(listener, (struct sockaddr *)&local, sizeof(local)) || listen(listener, 1))
		return 1;
	printf("ready\n");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return 1;
	while (got < first) {
		bytes = recv(fd, buffer, first - got < sizeof(buffer) ? first - got : sizeof(buffer), 0);
		if (bytes <= 0)
			return 1;
		got += bytes;
	}
	if (send(fd, "k", 1, 0) != 1)
		return 1;
	bytes = recv(fd, buffer, rest, MSG_WAITALL);
	report("at once", first, bytes);
	if (bytes < 0 || getchar() == EOF || send(fd, "a", 1, 0) != 1)
		return 1;
	got += bytes;
	while ((bytes = recv(fd, buffer + tail, sizeof(buffer) - tail, 0)) > 0)
		tail += bytes;
	report("afterwards", got, tail);
	return 0;
}
