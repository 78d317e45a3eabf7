// SPDX-License-Identifier: Apache-2.0
/*
 * Listening sockets from one proxy to the next (SCM_RIGHTS, unix(7)). The same sockets with the same backlog, so nothing
 * that arrives between two proxies is lost; with SO_REUSEPORT whatever waits in the old one's backlog would be reset.
 *
 * Both sides look at who is there (SO_PEERCRED): sockets of the mesh go to the proxy's own user only, and come from it only.
 */
#define NAPI_VERSION 8
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "addon.h"

/* An address of each family on a few interfaces. */
#define SOCKETS_MAX 8
#define TEXT_MAX 512
/* What a predecessor may take for its one message. */
#define ANSWER_S 2

union control {
	char bytes[CMSG_SPACE(SOCKETS_MAX * sizeof(int))];
	struct cmsghdr align;
};

/* 0, or EPERM when another user is at the other end. */
static int check_peer(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return errno;
	return peer.uid == geteuid() ? 0 : EPERM;
}

/* sendSockets(fd, sockets: number[], text): one message over the UNIX socket `fd`. */
napi_value send_sockets(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX], element;
	union control control;
	struct msghdr message;
	struct cmsghdr *rights;
	struct iovec data;
	char text[TEXT_MAX];
	int sockets[SOCKETS_MAX];
	uint32_t count;
	size_t length;
	int32_t fd;
	int err;

	if (!get_args(env, info, 3, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
	    napi_get_array_length(env, argv[1], &count) != napi_ok || count == 0 || count > SOCKETS_MAX ||
	    napi_get_value_string_utf8(env, argv[2], text, sizeof(text), &length) != napi_ok || length == 0)
		return throw_type(env, "sendSockets(fd, 1 to 8 sockets, text)");
	for (uint32_t i = 0; i < count; i++)
		if (napi_get_element(env, argv[1], i, &element) != napi_ok ||
		    napi_get_value_int32(env, element, &sockets[i]) != napi_ok)
			return throw_type(env, "sendSockets: a socket is not a number");
	err = check_peer(fd);
	if (err)
		return throw_errno(env, "sendSockets: whoever asks is not the proxy's user", err);

	memset(&control, 0, sizeof(control));
	memset(&message, 0, sizeof(message));
	data.iov_base = text;
	data.iov_len = length;
	message.msg_iov = &data;
	message.msg_iovlen = 1;
	message.msg_control = control.bytes;
	message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	rights = CMSG_FIRSTHDR(&message);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(rights), sockets, count * sizeof(int));
	if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length)
		return throw_errno(env, "sendSockets", errno);
	return NULL;
}

static int connect_to(const struct sockaddr_un *address)
{
	const struct timeval patience = { .tv_sec = ANSWER_S };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
		err = check_peer(fd);
		if (!err)
			return fd;
	} else {
		err = errno;
	}
	close(fd);
	return -err;
}

/* Takes the descriptors out of a message, whatever else is wrong with it: they are ours to close. */
static uint32_t take_rights(struct msghdr *message, int *sockets)
{
	uint32_t count = 0;

	for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
		if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
			continue;
		count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(sockets, CMSG_DATA(each), count * sizeof(int));
	}
	return count;
}

static napi_value answer(napi_env env, int fd, const char *text, size_t length, const int *sockets, uint32_t count)
{
	napi_value result, list, value;

	if (napi_create_object(env, &result) != napi_ok || napi_create_array_with_length(env, count, &list) != napi_ok)
		return NULL;
	for (uint32_t i = 0; i < count; i++)
		if (napi_create_int32(env, sockets[i], &value) != napi_ok ||
		    napi_set_element(env, list, i, value) != napi_ok)
			return NULL;
	if (napi_set_named_property(env, result, "sockets", list) != napi_ok ||
	    napi_create_string_utf8(env, text, length, &value) != napi_ok ||
	    napi_set_named_property(env, result, "text", value) != napi_ok ||
	    napi_create_int32(env, fd, &value) != napi_ok ||
	    napi_set_named_property(env, result, "fd", value) != napi_ok)
		return NULL;
	return result;
}

/* receiveSockets(path): { fd, sockets, text } of whoever listens at `path`; `fd` is the connection. Waits ANSWER_S. */
napi_value receive_sockets(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX], result;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	union control control;
	struct msghdr message;
	struct iovec data;
	char text[TEXT_MAX];
	int sockets[SOCKETS_MAX];
	uint32_t count;
	ssize_t length;
	size_t path;
	int fd, err;

	if (!get_args(env, info, 1, argv) || napi_get_value_string_utf8(env, argv[0], NULL, 0, &path) != napi_ok ||
	    path >= sizeof(address.sun_path) ||
	    napi_get_value_string_utf8(env, argv[0], address.sun_path, sizeof(address.sun_path), &path) != napi_ok)
		return throw_type(env, "receiveSockets(path of at most 107 bytes)");
	fd = connect_to(&address);
	if (fd < 0)
		return throw_errno(env, "receiveSockets: connect", -fd);

	memset(&message, 0, sizeof(message));
	data.iov_base = text;
	data.iov_len = sizeof(text);
	message.msg_iov = &data;
	message.msg_iovlen = 1;
	message.msg_control = control.bytes;
	message.msg_controllen = sizeof(control.bytes);
	length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	if (length <= 0) {
		err = length == 0 ? ECONNRESET : errno;
		close(fd);
		return throw_errno(env, "receiveSockets", err);
	}
	count = take_rights(&message, sockets);
	result = count == 0 ? NULL : answer(env, fd, text, (size_t)length, sockets, count);
	if (result)
		return result;
	for (uint32_t i = 0; i < count; i++)
		close(sockets[i]);
	close(fd);
	return throw_errno(env, "receiveSockets: no sockets in the message", EPROTO);
}
