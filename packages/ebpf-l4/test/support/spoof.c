// SPDX-License-Identifier: Apache-2.0
/*
 * spoof DEVICE MAC DESTINATION PORT SOURCE...: one UDP datagram per SOURCE, written below IP (AF_PACKET) so that neither
 * the sender's addresses nor its cgroup have a say. The payload is SOURCE as given, which
 * must be of the family of DESTINATION.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static unsigned int sum(unsigned int total, const void *data, size_t bytes)
{
	const unsigned char *byte = data;

	for (size_t i = 0; i < bytes; i++)
		total += i & 1 ? byte[i] : byte[i] << 8;
	return total;
}

static unsigned short checksum(unsigned int total)
{
	while (total >> 16)
		total = (total >> 16) + (total & 0xffff);
	return htons(~total & 0xffff);
}

/* Both return the length of the packet in `out`, 0 when an address is none of the family. */
static size_t packet_ip4(unsigned char *out, const char *source, const char *destination, unsigned short port)
{
	size_t text = strlen(source), length = sizeof(struct iphdr) + sizeof(struct udphdr) + text;
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons(length) };
	/* Without a checksum: IPv4 lets UDP do so. */
	struct udphdr udp = { .source = htons(4444), .dest = htons(port), .len = htons(sizeof(udp) + text) };

	if (inet_pton(AF_INET, source, &ip.saddr) != 1 || inet_pton(AF_INET, destination, &ip.daddr) != 1)
		return 0;
	ip.check = checksum(sum(0, &ip, sizeof(ip)));
	memcpy(out, &ip, sizeof(ip));
	memcpy(out + sizeof(ip), &udp, sizeof(udp));
	memcpy(out + sizeof(ip) + sizeof(udp), source, text);
	return length;
}

static size_t packet_ip6(unsigned char *out, const char *source, const char *destination, unsigned short port)
{
	size_t text = strlen(source), payload = sizeof(struct udphdr) + text;
	struct ip6_hdr ip = { .ip6_flow = htonl(6u << 28), .ip6_plen = htons(payload), .ip6_nxt = IPPROTO_UDP };
	struct udphdr udp = { .source = htons(4444), .dest = htons(port), .len = htons(payload) };
	unsigned int total = payload + IPPROTO_UDP;

	ip.ip6_hlim = 64;
	if (inet_pton(AF_INET6, source, &ip.ip6_src) != 1 || inet_pton(AF_INET6, destination, &ip.ip6_dst) != 1)
		return 0;
	total = sum(sum(total, &ip.ip6_src, 32), &udp, sizeof(udp));
	udp.check = checksum(sum(total, source, text));
	memcpy(out, &ip, sizeof(ip));
	memcpy(out + sizeof(ip), &udp, sizeof(udp));
	memcpy(out + sizeof(ip) + sizeof(udp), source, text);
	return sizeof(ip) + payload;
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = ETH_ALEN };
	struct ether_addr *mac = argc > 5 ? ether_aton(argv[2]) : NULL;
	int fd = socket(AF_PACKET, SOCK_DGRAM, 0);
	unsigned char packet[256];
	size_t length;
	int ip6;

	if (!mac || fd < 0)
		return 2;
	ip6 = strchr(argv[3], ':') != NULL;
	to.sll_ifindex = if_nametoindex(argv[1]);
	to.sll_protocol = htons(ip6 ? ETH_P_IPV6 : ETH_P_IP);
	memcpy(to.sll_addr, mac, ETH_ALEN);
	for (int i = 5; i < argc; i++) {
		if (strlen(argv[i]) > 64)
			return 2;
		if (ip6)
			length = packet_ip6(packet, argv[i], argv[3], atoi(argv[4]));
		else
			length = packet_ip4(packet, argv[i], argv[3], atoi(argv[4]));
		if (!length || sendto(fd, packet, length, 0, (struct sockaddr *)&to, sizeof(to)) < 0) {
			perror(argv[i]);
			return 1;
		}
	}
	return 0;
}
