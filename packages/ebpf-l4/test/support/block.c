// SPDX-License-Identifier: Apache-2.0
/*
 * A reader that blocks in recv(2) while something else wakes it.
 *
 *   block serve WAY          accepts one connection on port 9200 and answers "hello" after a while
 *   block call WAY ADDRESS   prints what recv(2) returned, or its error
 *
 * WAY: signal (a handler with SA_RESTART), threads (another thread has more to send than there is room for), reset (the
 * server resets instead of answering).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 9200
#define PAUSE_US 300000
#define BULK (8 << 20)

static char bytes[1 << 20];
static int fd;
static const char *way;

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static int is(const char *name)
{
	return !strcmp(way, name);
}

static void serve(void)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct linger at_once = { .l_onoff = 1 };
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	ssize_t got;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&local, sizeof(local)) || listen(listener, 1))
		die("listen");
	printf("ready\n");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	usleep(PAUSE_US);
	for (size_t left = is("threads") ? BULK : 0; left; left -= got) {
		got = recv(fd, bytes, sizeof(bytes), 0);
		if (got <= 0)
			die("serve: recv");
	}
	if (is("reset")) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(fd);
		return;
	}
	usleep(PAUSE_US);
	if (send(fd, "hello", 5, 0) != 5)
		die("serve: send");
}

static void *send_bulk(void *unused)
{
	for (size_t left = BULK; left;) {
		ssize_t sent = send(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);

		if (sent < 0)
			die("send");
		left -= sent;
	}
	return unused;
}

static void on_signal(int number)
{
	(void)number;
}

static void call(const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	char answer[16] = {};
	pthread_t thread;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	if (is("threads") && pthread_create(&thread, NULL, send_bulk, NULL))
		die("pthread_create");
	if (is("signal")) {
		sigaction(SIGALRM, &action, NULL);
		ualarm(PAUSE_US / 3, PAUSE_US / 3);
	}
	if (recv(fd, answer, sizeof(answer) - 1, 0) < 0)
		die("recv");
	printf("%s\n", answer);
}

int main(int argc, char **argv)
{
	way = argc > 2 ? argv[2] : "";
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve();
	else if (argc == 4 && !strcmp(argv[1], "call"))
		call(argv[3]);
	else
		return 2;
	return 0;
}
