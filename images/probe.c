// SPDX-License-Identifier: Apache-2.0
// probe SOCKET PATH: asks HTTP of a UNIX socket for PATH. Exit code 0: the answer is 200; 1: it is not, or none came within 5 s;
// 2: wrong command line.
//
// A kubelet cannot ask a UNIX socket, and the images have neither shell nor curl. Node.js could, at 40 MB and a twentieth of a
// second of processor time for each question. Static: the image may lack what it would be linked with.
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static const struct timeval patience = {.tv_sec = 5};

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char request[512];
	char answer[13] = ""; // "HTTP/1.1 200" and an end
	size_t have = 0;
	int length, fd;

	if (argc != 3 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "usage: probe SOCKET PATH\n");
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	length = snprintf(request, sizeof(request),
			  "GET %s HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n", argv[2]);
	if (length >= (int)sizeof(request)) {
		fprintf(stderr, "probe: PATH is too long\n");
		return 2;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fail(argv[1]);
	if (send(fd, request, length, MSG_NOSIGNAL) != length)
		return fail("send");
	while (have < sizeof(answer) - 1) {
		ssize_t got = recv(fd, answer + have, sizeof(answer) - 1 - have, 0);

		if (got < 0)
			return fail("no answer");
		if (got == 0)
			break;
		have += got;
	}
	// What the kubelet shows of a probe that failed.
	printf("%s\n", answer);
	return strcmp(answer, "HTTP/1.1 200") == 0 ? 0 : 1;
}
