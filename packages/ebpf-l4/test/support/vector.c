// SPDX-License-Identifier: Apache-2.0
/*
 * vector NAME TEXT ADDRESS PORT: one of the ways by which bytes may leave a pod, with TEXT as payload; prints "sent" or the
 * name of the errno ("silence" when nothing answered in time). ADDRESS decides the family; IPv4-mapped IPv6 is IPv6.
 */
#include "vector.h"
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define IPPROTO_MPTCP_ 262

/* connect and send: the plain way. */
static void plain(int type, int protocol)
{
	int fd = open_socket(type, protocol);

	connect_to(fd);
	write_text(fd);
}

static void fastopen_connect(int type, int protocol)
{
	int fd = open_socket(type, protocol), on = 1;

	check(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	connect_to(fd);
	write_text(fd);
}

static void send_to(int type, int protocol)
{
	int fd = open_socket(type, protocol);

	check(sendto(fd, text, strlen(text), (type == SOCK_STREAM ? MSG_FASTOPEN : 0) | MSG_NOSIGNAL,
		     (struct sockaddr *)&to, to_length));
}

/* An IPv6 socket takes a sockaddr_in as well, for datagrams. */
static void send_across(int type, int protocol)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, type, protocol);

	check(fd);
	check(bind(fd, (struct sockaddr *)&any, sizeof(any)));
	check(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, to_length));
}

/* A connected UDP socket may still name another destination. It has an address of the device, to be able to. */
static void send_past_connect(int type, int protocol)
{
	struct sockaddr_in self = { .sin_family = AF_INET,
				    .sin_port = htons(9),
				    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct ifreq device = { .ifr_name = "eth0" };
	int fd = open_socket(type, protocol);

	check(ioctl(fd, SIOCGIFADDR, &device));
	check(bind(fd, &device.ifr_addr, sizeof(device.ifr_addr)));
	check(connect(fd, (struct sockaddr *)&self, sizeof(self)));
	check(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, to_length));
}

static void raw_udp(int type, int protocol)
{
	unsigned char packet[512];
	size_t length = sizeof(struct udphdr) + strlen(text);
	struct udphdr head = { .source = htons(4444), .len = htons(length) };
	int fd = open_socket(type, protocol), offset = offsetof(struct udphdr, check);
	struct sockaddr_in6 *to6 = (void *)&to;

	head.dest = to6->sin6_port;
	if (to.ss_family == AF_INET6) {
		check(setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &offset, sizeof(offset)));
		to6->sin6_port = 0;
	}
	memcpy(packet, &head, sizeof(head));
	memcpy(packet + sizeof(head), text, strlen(text));
	check(sendto(fd, packet, length, 0, (struct sockaddr *)&to, to_length));
}

/* The kernel at the other end sends the payload back: that is how one sees that it was there. */
static void echo(int type, int protocol)
{
	unsigned char packet[512] = {};
	struct sockaddr_in6 *to6 = (void *)&to;
	bool six = to.ss_family == AF_INET6;
	int fd = open_socket(type, six ? IPPROTO_ICMPV6 : protocol);
	size_t length = sizeof(struct icmphdr) + strlen(text);
	ssize_t got;

	to6->sin6_port = 0;
	packet[0] = six ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	memcpy(packet + sizeof(struct icmphdr), text, strlen(text));
	if (!six && type == SOCK_RAW) {
		unsigned int sum = 0;

		for (size_t i = 0; i < length; i += 2)
			sum += packet[i] << 8 | packet[i + 1];
		sum = (sum >> 16) + (sum & 0xffff);
		sum = htons(~((sum >> 16) + sum));
		memcpy(packet + 2, &sum, 2);
	}
	check(sendto(fd, packet, length, 0, (struct sockaddr *)&to, to_length));
	do {
		check(got = recv(fd, packet, sizeof(packet), 0));
	} while (!memmem(packet, got, text, strlen(text)));
}

static void uring(int type, int flags)
{
	struct io_uring_params params = { .flags = (unsigned int)flags, .sq_thread_idle = 1000 };
	int ring = syscall(SYS_io_uring_setup, 2, &params), fd = open_socket(type, 0);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned char *queue;

	check(ring);
	queue = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(*cqe), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	sqe = mmap(0, params.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		   IORING_OFF_SQES);
	if (queue == MAP_FAILED || sqe == MAP_FAILED)
		check(-1);
	*sqe = (struct io_uring_sqe){
		.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (unsigned long)&to, .off = to_length
	};
	((unsigned int *)(queue + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned int *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	check(syscall(SYS_io_uring_enter, ring, flags & IORING_SETUP_SQPOLL ? 0 : 1, 1,
		      IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, 0, 0));
	cqe = (void *)(queue + params.cq_off.cqes);
	errno = -cqe->res;
	check(cqe->res < 0 ? -1 : 0);
	write_text(fd);
}

static const struct {
	const char *name;
	void (*run)(int type, int protocol);
	int type, protocol;
} vectors[] = {
	{ "tcp", plain, SOCK_STREAM, IPPROTO_TCP },
	{ "mptcp", plain, SOCK_STREAM, IPPROTO_MPTCP_ },
	{ "io_uring", uring, SOCK_STREAM, 0 },
	{ "io_uring-sqpoll", uring, SOCK_STREAM, IORING_SETUP_SQPOLL },
	{ "fastopen-connect", fastopen_connect, SOCK_STREAM, IPPROTO_TCP },
	{ "fastopen-send", send_to, SOCK_STREAM, IPPROTO_TCP },
	{ "udp", send_to, SOCK_DGRAM, IPPROTO_UDP },
	{ "udp-connected", plain, SOCK_DGRAM, IPPROTO_UDP },
	{ "udp-past-connect", send_past_connect, SOCK_DGRAM, IPPROTO_UDP },
	{ "udp-across-families", send_across, SOCK_DGRAM, IPPROTO_UDP },
	{ "udplite", send_to, SOCK_DGRAM, IPPROTO_UDPLITE },
	{ "udplite-connected", plain, SOCK_DGRAM, IPPROTO_UDPLITE },
	{ "raw", raw_udp, SOCK_RAW, IPPROTO_UDP },
	{ "icmp-raw", echo, SOCK_RAW, IPPROTO_ICMP },
	{ "icmp-ping", echo, SOCK_DGRAM, IPPROTO_ICMP },
};

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	text = argv[2];
	parse_destination(argv[3], argv[4]);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
		if (strcmp(vectors[i].name, argv[1]))
			continue;
		vectors[i].run(vectors[i].type, vectors[i].protocol);
		done("sent");
	}
	return 2;
}
