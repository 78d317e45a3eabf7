/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams. In C, so that what is measured is not the client.
 *
 *   stream sink PORT                         reads all that comes
 *   stream send ADDRESS PORT BYTES SECONDS   messages of BYTES, one way; prints bytes a second, own CPU seconds a gigabyte
 *   stream echo PORT                         sends back all that comes
 *   stream check ADDRESS PORT SECONDS        messages of any size both ways, at the same time, each byte checked
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LARGEST (1 << 20)
#define PERIOD 251
/* Not read back yet: more would stop both ends, each waiting for the other to read. */
#define UNREAD (256 << 10)

static unsigned char pattern[LARGEST + PERIOD];

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int dial(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	usleep(20000);
	return fd;
}

static void send_all(int fd, const unsigned char *bytes, size_t count)
{
	while (count) {
		ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);

		if (sent <= 0)
			die("send");
		bytes += sent;
		count -= sent;
	}
}

/* Waits in poll, never in recv: decision 0018. */
static ssize_t receive(int fd, void *into, size_t room)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	ssize_t got;

	while ((got = recv(fd, into, room, MSG_DONTWAIT)) < 0 && errno == EAGAIN)
		if (poll(&readable, 1, 10000) != 1)
			die("nothing for ten seconds");
	return got;
}

static void *serve(void *argument)
{
	int fd = (int)((intptr_t)argument >> 1), echoes = (intptr_t)argument & 1;
	unsigned char *bytes = malloc(LARGEST);
	ssize_t got;

	while (bytes && (got = receive(fd, bytes, LARGEST)) > 0)
		if (echoes)
			send_all(fd, bytes, got);
	free(bytes);
	close(fd);
	return NULL;
}

static void accept_all(const char *port, int echoes)
{
	struct sockaddr_in6 local = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	int on = 1, listener = socket(AF_INET6, SOCK_STREAM, 0);
	pthread_t thread;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&local, sizeof(local)) || listen(listener, 16))
		die("listen");
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (fd < 0 || pthread_create(&thread, NULL, serve, (void *)((intptr_t)fd << 1 | echoes)))
			die("accept");
		pthread_detach(thread);
	}
}

static void send_for(int fd, size_t bytes, double seconds)
{
	double started = now(), took, cpu;
	struct rusage used;
	uint64_t sent = 0;

	do {
		send_all(fd, pattern, bytes);
		sent += bytes;
		took = now() - started;
	} while (took < seconds);
	getrusage(RUSAGE_SELF, &used);
	cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	printf("%.0f %.6f\n", sent / took, cpu / sent * 1e9);
}

static void check(int fd, double seconds)
{
	static unsigned char in[LARGEST];
	unsigned int seed = getpid();
	uint64_t sent = 0, received = 0;
	double end = now() + seconds;

	while (now() < end || received < sent) {
		/* Mostly small: those go past TCP. */
		size_t size = 1 + rand_r(&seed) % (rand_r(&seed) % 8 ? 2000 : UNREAD / 2);
		ssize_t got;

		if (now() < end && sent + size - received <= UNREAD) {
			send_all(fd, pattern + sent % PERIOD, size);
			sent += size;
		}
		got = receive(fd, in, 1 + rand_r(&seed) % LARGEST);
		if (got <= 0)
			die("recv");
		for (ssize_t i = 0; i < got; i++, received++)
			if (in[i] != received % PERIOD) {
				printf("byte %llu is wrong\n", (unsigned long long)received);
				exit(1);
			}
	}
	printf("%llu bytes, each as it was sent\n", (unsigned long long)received);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i % PERIOD;
	if (argc == 3 && !strcmp(argv[1], "sink"))
		accept_all(argv[2], 0);
	else if (argc == 3 && !strcmp(argv[1], "echo"))
		accept_all(argv[2], 1);
	else if (argc == 6 && !strcmp(argv[1], "send") && atol(argv[4]) <= LARGEST)
		send_for(dial(argv[2], argv[3]), atol(argv[4]), atof(argv[5]));
	else if (argc == 5 && !strcmp(argv[1], "check"))
		check(dial(argv[2], argv[3]), atof(argv[4]));
	else
		return 2;
	return 0;
}
