/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connection set-up: connect, one byte each way, close. In C, so that what is measured is not the client.
 *
 *   connect serve PORT
 *   connect drive ADDRESS PORT SECONDS CONCURRENCY   prints {"requests":…,"seconds":…,"p50Us":…,"p99Us":…,"errors":…}
 *
 * The client closes with a reset: tens of thousands of connections a second would otherwise use up every port in TIME_WAIT.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 128
#define MAX_CONCURRENCY 1024
/* Latencies beyond this share the last bucket. One bucket a microsecond. */
#define BUCKETS 1000000

struct connection {
	int fd;
	int sent;
	uint64_t start_us;
};

struct totals {
	uint64_t requests;
	uint64_t errors;
	uint32_t buckets[BUCKETS];
};

static struct connection connections[MAX_CONCURRENCY];
static struct totals totals;

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(int epoll, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	if (epoll_ctl(epoll, op, fd, &event) < 0)
		die("epoll_ctl");
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("bind");
	if (listen(fd, 4096) < 0)
		die("listen");
	return fd;
}

/* One byte in, one byte out; at the end of the stream, or a reset, close. */
static void answer(int fd)
{
	char byte;
	ssize_t got = read(fd, &byte, 1);

	if (got == 1 && write(fd, &byte, 1) == 1)
		return;
	if (got < 0 && errno == EAGAIN)
		return;
	close(fd);
}

static void serve(uint16_t port)
{
	int listener = listen_on(port), epoll = epoll_create1(0);
	struct epoll_event events[MAX_EVENTS];

	watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, (uint64_t)listener);
	for (;;) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = (int)events[i].data.u64;

			if (fd != listener) {
				answer(fd);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
				watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
		}
	}
}

static void open_connection(int epoll, int slot, const struct sockaddr *address, socklen_t size)
{
	struct connection *connection = &connections[slot];
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	connection->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connection->fd < 0)
		die("socket");
	setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	connection->sent = 0;
	connection->start_us = now_us();
	if (connect(connection->fd, address, size) < 0 && errno != EINPROGRESS)
		die("connect");
	watch(epoll, EPOLL_CTL_ADD, connection->fd, EPOLLOUT, (uint64_t)slot);
}

/* Returns 1 when the connection has ended, well or not. */
static int advance(int epoll, int slot)
{
	struct connection *connection = &connections[slot];
	char byte = 'x';
	ssize_t n;

	if (!connection->sent) {
		n = write(connection->fd, &byte, 1);
		if (n == 1) {
			connection->sent = 1;
			watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN, (uint64_t)slot);
			return 0;
		}
	} else {
		n = read(connection->fd, &byte, 1);
	}
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n == 1) {
		uint64_t took = now_us() - connection->start_us;

		totals.requests++;
		totals.buckets[took < BUCKETS ? took : BUCKETS - 1]++;
	} else {
		totals.errors++;
	}
	close(connection->fd);
	return 1;
}

static uint64_t percentile(double share)
{
	uint64_t below = 0, wanted = (uint64_t)(share * totals.requests);

	for (uint64_t us = 0; us < BUCKETS; us++) {
		below += totals.buckets[us];
		if (below > wanted)
			return us;
	}
	return 0;
}

static void drive(const struct sockaddr *address, socklen_t size, double seconds, int concurrency)
{
	int epoll = epoll_create1(0);
	uint64_t start = now_us(), end = start + (uint64_t)(seconds * 1e6);
	struct epoll_event events[MAX_EVENTS];

	for (int slot = 0; slot < concurrency; slot++)
		open_connection(epoll, slot, address, size);
	while (now_us() < end) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, 100);

		for (int i = 0; i < n; i++) {
			int slot = (int)events[i].data.u64;

			if (advance(epoll, slot))
				open_connection(epoll, slot, address, size);
		}
	}
	printf("{\"requests\":%lu,\"seconds\":%.6f,\"p50Us\":%lu,\"p99Us\":%lu,\"errors\":%lu}\n",
	       (unsigned long)totals.requests, (now_us() - start) / 1e6, (unsigned long)percentile(0.5),
	       (unsigned long)percentile(0.99), (unsigned long)totals.errors);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve")) {
		serve((uint16_t)atoi(argv[2]));
	} else if (argc == 6 && !strcmp(argv[1], "drive")) {
		struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3])) };
		struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = v4.sin_port };
		int concurrency = atoi(argv[5]);

		if (concurrency < 1 || concurrency > MAX_CONCURRENCY)
			return 2;
		if (inet_pton(AF_INET, argv[2], &v4.sin_addr) == 1)
			drive((struct sockaddr *)&v4, sizeof(v4), atof(argv[4]), concurrency);
		else if (inet_pton(AF_INET6, argv[2], &v6.sin6_addr) == 1)
			drive((struct sockaddr *)&v6, sizeof(v6), atof(argv[4]), concurrency);
		else
			return 2;
	} else {
		fprintf(stderr, "usage: connect serve PORT | connect drive ADDRESS PORT SECONDS CONCURRENCY\n");
		return 2;
	}
	return 0;
}
