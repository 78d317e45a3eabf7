// SPDX-License-Identifier: Apache-2.0
/*
 * The proxy's only way to the datapath: socket options on its own sockets (design 4.4), and sockets made before libuv
 * sees them, because an option that must precede connect(2) cannot be set on a net.Socket.
 *
 * A wire, not a library: every length is checked here, every failure is thrown as an Error with `code` ("EPERM") and
 * `errno`; what it means is decided in TypeScript.
 */
#define NAPI_VERSION 8
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <node_api.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/types.h>

#include "../../../bpf/include/pillion/types.h"
#include "addon.h"

napi_value throw_errno(napi_env env, const char *operation, int err)
{
	napi_value message, code, error, number;
	char text[160];

	snprintf(text, sizeof(text), "%s: %s", operation, strerror(err));
	if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok ||
	    napi_create_string_utf8(env, strerrorname_np(err) ? strerrorname_np(err) : "EUNKNOWN", NAPI_AUTO_LENGTH,
				    &code) != napi_ok ||
	    napi_create_error(env, code, message, &error) != napi_ok ||
	    napi_create_int32(env, err, &number) != napi_ok ||
	    napi_set_named_property(env, error, "errno", number) != napi_ok)
		napi_throw_error(env, NULL, text);
	else
		napi_throw(env, error);
	return NULL;
}

napi_value throw_type(napi_env env, const char *text)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
	return NULL;
}

int get_args(napi_env env, napi_callback_info info, size_t want, napi_value *argv)
{
	size_t argc = ARGS_MAX;

	return napi_get_cb_info(env, info, &argc, argv, NULL, NULL) == napi_ok && argc >= want;
}

/* getOrigin(fd, buffer): true when the kernel knows where the accepted connection was headed, false when it does not.
 * The buffer must be exactly struct origin: another length means that kernel and proxy disagree about the layout. */
static napi_value get_origin(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX], result;
	socklen_t size;
	size_t length;
	void *data;
	int32_t fd;
	bool known = true;

	if (!get_args(env, info, 2, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
	    napi_get_buffer_info(env, argv[1], &data, &length) != napi_ok)
		return throw_type(env, "getOrigin(fd, buffer)");
	if (length != sizeof(struct origin))
		return throw_type(env, "getOrigin: the buffer is not of the size of struct origin");
	size = sizeof(struct origin);
	if (getsockopt(fd, SOL_PILLION, PILLION_ORIGIN, data, &size) != 0) {
		/* The kernel's own answer to an unknown level: not redirected, or no datapath at all. Either way nobody
		 * vouches for this connection. */
		if (errno != ENOPROTOOPT && errno != EOPNOTSUPP)
			return throw_errno(env, "getsockopt(PILLION_ORIGIN)", errno);
		known = false;
	} else if (size != sizeof(struct origin)) {
		return throw_errno(env, "getsockopt(PILLION_ORIGIN): unexpected length", EPROTO);
	}
	return napi_get_boolean(env, known, &result) == napi_ok ? result : NULL;
}

/* setHeartbeat(fd, state, pid): fd is a listening socket. */
static napi_value set_heartbeat(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX];
	struct heartbeat beat;
	int32_t fd;

	memset(&beat, 0, sizeof(beat));
	if (!get_args(env, info, 3, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
	    napi_get_value_uint32(env, argv[1], &beat.state) != napi_ok ||
	    napi_get_value_uint32(env, argv[2], &beat.pid) != napi_ok)
		return throw_type(env, "setHeartbeat(fd, state, pid)");
	if (setsockopt(fd, SOL_PILLION, PILLION_HEARTBEAT, &beat, sizeof(beat)) != 0)
		return throw_errno(env, "setsockopt(PILLION_HEARTBEAT)", errno);
	return NULL;
}

/* openSocket(family: 4 | 6, identity?): a TCP socket for one upstream connection that carries `identity`. Without an
 * identity (undefined) the kernel is not asked: tests without a datapath. */
static napi_value open_socket(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX], result;
	struct on_behalf_of who;
	napi_valuetype type;
	int32_t family;
	int fd, err, on = 1;

	memset(&who, 0, sizeof(who));
	if (!get_args(env, info, 1, argv) || napi_get_value_int32(env, argv[0], &family) != napi_ok ||
	    napi_typeof(env, argv[1], &type) != napi_ok || (family != 4 && family != 6))
		return throw_type(env, "openSocket(4 | 6, identity)");
	if (type != napi_undefined && napi_get_value_uint32(env, argv[1], &who.identity) != napi_ok)
		return throw_type(env, "openSocket: identity is not a number");

	fd = socket(family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return throw_errno(env, "socket", errno);
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
	    (type != napi_undefined && setsockopt(fd, SOL_PILLION, PILLION_ON_BEHALF_OF, &who, sizeof(who)) != 0)) {
		err = errno;
		close(fd);
		return throw_errno(env, "setsockopt(PILLION_ON_BEHALF_OF)", err);
	}
	if (napi_create_int32(env, fd, &result) != napi_ok) {
		close(fd);
		return throw_errno(env, "openSocket", ENOMEM);
	}
	return result;
}

/* closeFd(fd): a descriptor that this addon made and nobody adopted. */
static napi_value close_fd(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX];
	int32_t fd;

	if (!get_args(env, info, 1, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok || fd < 3)
		return throw_type(env, "closeFd(fd)");
	if (close(fd) != 0)
		return throw_errno(env, "close", errno);
	return NULL;
}

/* duplicate(fd): another descriptor of the same socket. */
static napi_value duplicate(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX], result;
	int32_t fd;
	int copy;

	if (!get_args(env, info, 1, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok || fd < 3)
		return throw_type(env, "duplicate(fd)");
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return throw_errno(env, "fcntl(F_DUPFD_CLOEXEC)", errno);
	if (napi_create_int32(env, copy, &result) != napi_ok) {
		close(copy);
		return throw_errno(env, "duplicate", ENOMEM);
	}
	return result;
}

/* sendNow(fd, bytes): true when all of it is on its way, false when there is no room now. Part of it is an error: whoever
 * calls sends a few bytes at a moment when nothing waits, and a stream that was cut there is of no use. */
static napi_value send_now(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX], result;
	size_t length;
	ssize_t sent;
	void *data;
	int32_t fd;

	if (!get_args(env, info, 2, argv) || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
	    napi_get_buffer_info(env, argv[1], &data, &length) != napi_ok)
		return throw_type(env, "sendNow(fd, bytes)");
	sent = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN)
		return throw_errno(env, "sendNow", errno);
	if (sent >= 0 && (size_t)sent != length)
		return throw_errno(env, "sendNow: cut off", EMSGSIZE);
	return napi_get_boolean(env, sent >= 0, &result) == napi_ok ? result : NULL;
}

static int parse_address(const char *text, uint16_t port, struct sockaddr_storage *out, socklen_t *length)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		*length = sizeof(*in);
		return AF_INET;
	}
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		*length = sizeof(*in6);
		return AF_INET6;
	}
	return -1;
}

/* listenSocket(address, port): a listening descriptor that no event loop watches, so that the parent can hold it (and
 * its backlog) over the death of a worker without ever accepting. */
static napi_value listen_socket(napi_env env, napi_callback_info info)
{
	napi_value argv[ARGS_MAX], result;
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_storage address;
	socklen_t address_length = 0;
	size_t length;
	uint32_t port;
	int fd, err, family, on = 1;

	if (!get_args(env, info, 2, argv) || napi_get_value_string_utf8(env, argv[0], NULL, 0, &length) != napi_ok ||
	    length >= sizeof(text) ||
	    napi_get_value_string_utf8(env, argv[0], text, sizeof(text), &length) != napi_ok ||
	    napi_get_value_uint32(env, argv[1], &port) != napi_ok || port > UINT16_MAX)
		return throw_type(env, "listenSocket(address, port)");
	family = parse_address(text, (uint16_t)port, &address, &address_length);
	if (family < 0)
		return throw_type(env, "listenSocket: the address is not IPv4 or IPv6");

	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return throw_errno(env, "socket", errno);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
	    bind(fd, (struct sockaddr *)&address, address_length) != 0 || listen(fd, 4096) != 0) {
		err = errno;
		close(fd);
		return throw_errno(env, "listen", err);
	}
	if (napi_create_int32(env, fd, &result) != napi_ok) {
		close(fd);
		return throw_errno(env, "listenSocket", ENOMEM);
	}
	return result;
}

static napi_value init(napi_env env, napi_value exports)
{
	const napi_property_descriptor properties[] = {
		{ "getOrigin", NULL, get_origin, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "setHeartbeat", NULL, set_heartbeat, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "openSocket", NULL, open_socket, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "listenSocket", NULL, listen_socket, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "closeFd", NULL, close_fd, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "duplicate", NULL, duplicate, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "sendNow", NULL, send_now, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "sendSockets", NULL, send_sockets, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "receiveSockets", NULL, receive_sockets, NULL, NULL, NULL, napi_enumerable, NULL },
	};

	if (napi_define_properties(env, exports, sizeof(properties) / sizeof(properties[0]), properties) != napi_ok)
		napi_throw_error(env, NULL, "sockopt: cannot define properties");
	return exports;
}

NAPI_MODULE(sockopt, init)
