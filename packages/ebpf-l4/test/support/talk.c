// SPDX-License-Identifier: Apache-2.0
/*
 * A conversation by one of the ways in which programs use sockets, checked byte by byte.
 *
 *   talk serve PORT WAY                      accepts one connection and sends back all that comes
 *   talk call ADDRESS PORT WAY ROUNDS SIZE   ROUNDS times a message of 1 to SIZE bytes and its echo; prints "ok BYTES"
 *
 * WAY: plain, scatter (writev, readv), more (MSG_MORE), peek (MSG_PEEK before each read), edge (EPOLLET), inline (the last
 * byte of a message by MSG_OOB, SO_OOBINLINE), sendfile, zerocopy (MSG_ZEROCOPY), splice (the server moves bytes through
 * a pipe).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define PERIOD 251
#define PATIENCE_MS 5000
#define LARGEST (1 << 20)

static unsigned char out[LARGEST + PERIOD], in[LARGEST];
static const char *way;
static int epoll = -1, file = -1, pipes[2];

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static int is(const char *name)
{
	return !strcmp(way, name);
}

/* What the way needs of a socket before it is used. */
static void prepare(int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	struct timeval limit = { .tv_sec = PATIENCE_MS / 1000 };
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (is("inline") && setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)))
		die("SO_OOBINLINE");
	if (is("zerocopy") && setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)))
		die("SO_ZEROCOPY");
	if (is("splice") && pipe(pipes))
		die("pipe");
	/* Whoever blocks would be woken for nothing: block.c. */
	if (!is("splice") && fcntl(fd, F_SETFL, O_NONBLOCK))
		die("O_NONBLOCK");
	epoll = epoll_create1(0);
	if (is("edge") && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static void read_completion(int fd)
{
	char control[128];
	struct msghdr message = { .msg_control = control, .msg_controllen = sizeof(control) };

	if (recvmsg(fd, &message, MSG_ERRQUEUE) < 0)
		die("no completion");
}

/* Edge-triggered: only after EAGAIN, so a wake-up that is missed is never made up for. */
static void await_bytes(int fd)
{
	struct pollfd socket = { .fd = fd, .events = POLLIN };
	struct epoll_event event;

	if ((is("edge") ? epoll_wait(epoll, &event, 1, PATIENCE_MS) : poll(&socket, 1, PATIENCE_MS)) != 1) {
		printf("missed a wake-up\n");
		exit(1);
	}
	if (is("zerocopy") && socket.revents & POLLERR)
		read_completion(fd);
}

static ssize_t take_some(int fd, size_t room)
{
	static unsigned char seen[LARGEST];
	struct iovec halves[2] = { { in, room / 2 }, { in + room / 2, room - room / 2 } };
	ssize_t peeked, got;

	if (is("scatter"))
		return readv(fd, halves, 2);
	if (!is("peek"))
		return recv(fd, in, room, 0);
	peeked = recv(fd, seen, room, MSG_PEEK);
	if (peeked < 0)
		return peeked;
	got = recv(fd, in, room, 0);
	if (peeked > got || memcmp(seen, in, peeked)) {
		printf("peeked at something else\n");
		exit(1);
	}
	return got;
}

/* Some bytes into `in`; 0 at the end. */
static size_t take(int fd, size_t room)
{
	ssize_t got;

	while ((got = take_some(fd, room)) < 0 && errno == EAGAIN && !is("splice"))
		await_bytes(fd);
	if (got < 0)
		die("recv");
	return got;
}

/* Pages are the kernel's until it says that they are not. */
static void await_completion(int fd)
{
	struct pollfd errors = { .fd = fd };

	if (poll(&errors, 1, PATIENCE_MS) != 1)
		die("no completion");
	read_completion(fd);
}

static ssize_t put_some(int fd, const unsigned char *from, size_t bytes)
{
	struct iovec pieces[3] = { { (void *)from, bytes / 3 },
				   { (void *)(from + bytes / 3), bytes / 3 },
				   { (void *)(from + 2 * (bytes / 3)), bytes - 2 * (bytes / 3) } };
	off_t at = 0;

	if (is("scatter"))
		return writev(fd, pieces, 3);
	if (is("more") && bytes > 1)
		return send(fd, from, bytes / 2, MSG_MORE);
	if (is("inline"))
		return send(fd, from, bytes > 1 ? bytes - 1 : 1, bytes > 1 ? 0 : MSG_OOB);
	if (is("zerocopy"))
		return send(fd, from, bytes, MSG_ZEROCOPY);
	if (is("sendfile")) {
		if (pwrite(file, from, bytes, 0) != (ssize_t)bytes)
			die("pwrite");
		return sendfile(fd, file, &at, bytes);
	}
	return send(fd, from, bytes, 0);
}

static void put(int fd, const unsigned char *from, size_t bytes)
{
	while (bytes) {
		ssize_t sent = put_some(fd, from, bytes);

		if (sent < 0 && errno == EAGAIN) {
			struct pollfd room = { .fd = fd, .events = POLLOUT };

			poll(&room, 1, PATIENCE_MS);
			continue;
		}
		if (sent <= 0)
			die("send");
		if (is("zerocopy"))
			await_completion(fd);
		from += sent;
		bytes -= sent;
	}
}

static void echo_by_splice(int fd)
{
	ssize_t moved;

	while ((moved = splice(fd, NULL, pipes[1], NULL, 65536, 0)) > 0)
		while (moved > 0) {
			ssize_t sent = splice(pipes[0], NULL, fd, NULL, moved, 0);

			if (sent <= 0)
				die("splice to the socket");
			moved -= sent;
		}
	if (moved < 0)
		die("splice from the socket");
}

static void serve(unsigned short port)
{
	struct sockaddr_in6 local = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd, on = 1, listener = socket(AF_INET6, SOCK_STREAM, 0);
	size_t got;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&local, sizeof(local)) || listen(listener, 1))
		die("listen");
	printf("ready\n");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept");
	prepare(fd);
	if (is("splice"))
		echo_by_splice(fd);
	else
		while ((got = take(fd, sizeof(in))))
			put(fd, in, got);
}

static void call(const char *address, unsigned short port, size_t rounds, size_t size)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	size_t sent = 0, received = 0, got, end;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	prepare(fd);
	usleep(20000); /* the other end must be there, too: what is sent before goes by TCP */
	for (size_t round = 0; round < rounds; round++) {
		end = sent + 1 + rand() % size;
		put(fd, out + sent % PERIOD, end - sent);
		sent = end;
		while (received < sent) {
			got = take(fd, sizeof(in));
			if (!got)
				die("closed early");
			for (size_t i = 0; i < got; i++, received++)
				if (in[i] != received % PERIOD) {
					printf("byte %zu is wrong\n", received);
					exit(1);
				}
		}
	}
	printf("ok %zu\n", received);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = i % PERIOD;
	if (argc == 4 && !strcmp(argv[1], "serve")) {
		way = argv[3];
		file = memfd_create("out", 0);
		serve(atoi(argv[2]));
	} else if (argc == 7 && !strcmp(argv[1], "call") && atol(argv[6]) <= LARGEST) {
		way = argv[4];
		file = memfd_create("out", 0);
		call(argv[2], atoi(argv[3]), atol(argv[5]), atol(argv[6]));
	} else {
		return 2;
	}
	return 0;
}
