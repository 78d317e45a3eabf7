// SPDX-License-Identifier: Apache-2.0
/* syn SOURCE DESTINATION PORT IDENTITY: one SYN that claims IDENTITY in the option of bpf/include/pillion/behalf.h. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OPTIONS 12

struct pseudo {
	struct in_addr source, destination;
	unsigned char zero, protocol;
	unsigned short length;
};

static unsigned int sum(unsigned int total, const void *data, size_t bytes)
{
	const unsigned char *byte = data;

	for (size_t i = 0; i < bytes; i++)
		total += i & 1 ? byte[i] : byte[i] << 8;
	return total;
}

int main(int argc, char **argv)
{
	unsigned int identity = argc == 5 ? htonl(atoi(argv[4])) : 0;
	unsigned char segment[sizeof(struct tcphdr) + OPTIONS] = {};
	/* Others first: the option has to be found among them. */
	unsigned char options[OPTIONS] = { 1, 1, 4, 2, 254, 8, 0x70, 0x69 };
	struct pseudo pseudo = { .protocol = IPPROTO_TCP, .length = htons(sizeof(segment)) };
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
	struct tcphdr tcp = { .source = htons(4444), .doff = sizeof(segment) / 4, .syn = 1, .window = htons(1024) };
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
	unsigned int total;

	if (argc != 5 || fd < 0 || inet_pton(AF_INET, argv[1], &from.sin_addr) != 1 ||
	    inet_pton(AF_INET, argv[2], &to.sin_addr) != 1)
		return 2;
	tcp.dest = htons(atoi(argv[3]));
	memcpy(options + 8, &identity, 4);
	memcpy(segment, &tcp, sizeof(tcp));
	memcpy(segment + sizeof(tcp), options, OPTIONS);
	pseudo.source = from.sin_addr;
	pseudo.destination = to.sin_addr;
	total = sum(sum(0, &pseudo, sizeof(pseudo)), segment, sizeof(segment));
	while (total >> 16)
		total = (total >> 16) + (total & 0xffff);
	tcp.check = htons(~total & 0xffff);
	memcpy(segment, &tcp, sizeof(tcp));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) ||
	    sendto(fd, segment, sizeof(segment), 0, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror("send");
		return 1;
	}
	return 0;
}
