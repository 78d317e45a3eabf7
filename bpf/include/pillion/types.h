/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct and enum that crosses the border between kernel and user space, and nothing else.
 *
 * Rules: fixed-width members, explicit padding named pad*, no unions, no bit-fields, addresses always 16 bytes in
 * network order (IPv4 as ::ffff:a.b.c.d), __be16 for ports in network order. TypeScript readers and writers are generated
 * from the BTF of these types (tools/gen-layout.ts); the proxy reads struct origin with the same generated code.
 */
#ifndef PILLION_TYPES_H
#define PILLION_TYPES_H

#define PILLION_COMM_LEN 16

struct addr {
	__u8 bytes[16];
};

/* Identities that are not label sets; packages/contract/src/identity.ts has the same numbers. */
enum reserved_identity {
	IDENTITY_ANY = 0,
	IDENTITY_WORLD = 1,
	IDENTITY_HOST = 2,
	IDENTITY_REMOTE_NODE = 3,
	IDENTITY_UNMANAGED = 4,
	IDENTITY_KUBE_APISERVER = 5,
};

/* Bits of identities; of addresses, where a policy names them by ipBlock; packages/contract/src/identity.ts has the same. */
enum identity_bit {
	IDENTITY_BIT_CIDR = 0x20000000, /* outside of the cluster */
	IDENTITY_BIT_NODE = 0x40000000, /* a node's own address */
	/* 0x80000000: a caller whose request a proxy has judged; to the kernel an identity like any other. */
};

/* ---- who is who ---- */

enum accel_mode {
	ACCEL_OFF = 0,
	ACCEL_ON = 1,
	ACCEL_AUTO = 2,
};

/* pl_cgroups: id of a pod's (or the proxy's) cgroup -> who runs there. */
struct workload {
	__u32 identity;
	__u32 proxy; /* 1: the L7 proxy of this node */
};

/* pl_addresses: longest prefix match on an address. */
struct addr_key {
	__u32 prefix_length; /* 0 to 128 */
	struct addr addr;
};

enum addr_flag {
	ADDR_LOCAL = 1, /* belongs to this node: both ends of a connection can be accelerated */
	ADDR_NODE = 2, /* a node's own address, not a pod's */
	ADDR_ACCEL_OFF = 4, /* whoever lives here is never accelerated */
	ADDR_ACCEL_ON = 8, /* accelerated without looking at executables */
};

struct addr_info {
	__u32 identity;
	__u32 flags; /* enum addr_flag */
};

/* ---- services ---- */

enum failure_mode {
	FAILURE_BYPASS = 1,
	FAILURE_REJECT = 2,
};

/* pl_services: what the application connects to. A node port is at the unspecified address of its family. */
struct service_key {
	struct addr addr;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
};

struct service {
	__u32 id; /* number of the ServicePort */
	__u32 set; /* of its slots, complete before it is named here */
	__u32 slots; /* 0: no ready endpoint */
	__u32 affinity_s; /* 0: none */
	__u8 l7; /* 1: to the proxy */
	__u8 failure_mode; /* enum failure_mode, when l7 */
	__u8 pad[2];
};

/* pl_slots: an alias table (Vose): O(1) weighted choice. A set never changes: other endpoints are another set. */
struct slot_key {
	__u32 set;
	__u32 slot;
};

struct slot {
	__u32 threshold; /* of 2^32: below it `primary`, otherwise `alias` */
	__u32 primary; /* key of pl_backends */
	__u32 alias;
};

/* pl_members: the backends of a set; only for services with affinity. */
struct member_key {
	__u32 set;
	__u32 backend; /* key of pl_backends */
};

struct member {
	__u32 backend;
};

/* pl_affinity: where a client was sent last. */
struct affinity_key {
	__u64 client; /* cgroup of the pod; of the node for its own processes */
	__u32 service;
	__u32 ip6; /* 1: by an IPv6 address: those have backends of their own */
};

struct affinity {
	__u64 used_ns;
	__u32 backend; /* key of pl_backends */
	__u32 pad;
};

/* pl_backends: by number. */
struct backend {
	struct addr addr;
	__be16 port;
	__u8 pad[2];
	__u32 identity;
};

/* ---- policy ---- */

/* SHADOW: the direction as it would be if policies in Shadow mode were enforced; only where that is another one. */
enum direction {
	DIRECTION_INGRESS = 1,
	DIRECTION_EGRESS = 2,
	DIRECTION_SHADOW_INGRESS = 5,
	DIRECTION_SHADOW_EGRESS = 6,
};

/* pl_subjects: an identity and direction that some policy selects. Absent: everything is allowed. */
struct subject_key {
	__u32 identity;
	__u32 direction; /* enum direction */
};

struct subject {
	__u32 isolated; /* 1: deny what no rule allows */
	__u32 isolation_rule;
	__u32 port_blocks; /* bit n: some rule fixes n leading bits of the port; bit 0: any port */
	__u32 has_deny; /* 0: the first allow decides */
};

/* pl_rules: one entry a (subject, direction, peer, protocol, port block). */
struct rule_key {
	__u32 subject;
	__u32 peer; /* 0: any */
	__u8 direction;
	__u8 protocol; /* 0: any */
	__u8 port_bits;
	__u8 pad;
	__u16 port; /* host order, masked to port_bits */
	__u16 pad2;
};

enum verdict {
	VERDICT_ALLOW = 1,
	VERDICT_DENY = 2,
};

struct rule {
	__u32 rule;
	__u32 verdict; /* enum verdict */
};

/* pl_shadow: what a policy in Shadow mode would have denied. */
struct shadow_key {
	__u32 rule;
	__u32 src_identity;
	__u32 dst_identity;
	__u16 port; /* of the destination, host order */
	__u8 protocol;
	__u8 direction; /* enum direction: DIRECTION_INGRESS or DIRECTION_EGRESS */
};

struct shadow {
	__u64 count; /* connections; datagrams of UDP */
	__u64 last_ns; /* CLOCK_MONOTONIC */
};

/* ---- the proxy ---- */

/* Level and names of the socket options, design 4.4. */
enum pillion_sockopt {
	SOL_PILLION = 0x7069,
	PILLION_ORIGIN = 1,
	PILLION_ON_BEHALF_OF = 2,
	PILLION_HEARTBEAT = 5,
};

enum proxy_state {
	PROXY_GONE = 0,
	PROXY_SERVING = 1,
	PROXY_DRAINING = 2,
};

/* PILLION_HEARTBEAT, set on a listening socket. */
struct heartbeat {
	__u32 state; /* enum proxy_state */
	__u32 pid;
};

/* PILLION_ON_BEHALF_OF, set before connect. */
struct on_behalf_of {
	__u32 identity;
	__u32 pad;
};

/* PILLION_ORIGIN, read from an accepted socket. */
struct origin {
	struct addr dst; /* what the application asked for */
	struct addr src; /* the application's own address */
	__be16 dst_port;
	__be16 src_port;
	__u32 service;
	__u32 identity; /* of the client */
	__u32 pad;
	__u64 cgroup; /* of the client's pod, 0: in no pod */
	__u64 cookie; /* of the client's socket: the key of its flow events */
};

/* pl_origins: (address, port) of a client's socket, as its peer sees it. */
struct origin_key {
	struct addr addr;
	__be16 port;
	__u8 pad[2];
};

/* pl_proxy: one entry, key 0. */
struct proxy {
	__u64 heartbeat_ns; /* CLOCK_MONOTONIC of the last heartbeat */
	__u32 state; /* enum proxy_state */
	__u32 pid;
};

/* ---- settings that change while running ---- */

/* pl_settings: one entry, key 0. */
struct settings {
	__u32 policy_generation; /* rises with every policy change: open connections are judged again */
	__u32 accel; /* enum accel_mode, where the address does not say */
	struct addr proxy4; /* where the proxy listens */
	struct addr proxy6;
	__be16 proxy_port;
	__u8 pad[2];
	__u32 has_policy; /* 0: pl_subjects is empty, nobody needs to look */
	__u32 has_shadow; /* 0: no policy is in Shadow mode */
};

/* pl_executables: may a socket of this executable be accelerated (design 4.5, Auto)? */
struct exe_key {
	__u64 inode;
	__u32 device;
	__u32 pad;
};

enum exe_verdict {
	EXE_UNKNOWN = 0, /* asked for, not answered yet */
	EXE_PLAIN = 1, /* cannot splice, waits in epoll */
	EXE_UNFIT = 2,
};

struct exe {
	__u32 verdict; /* enum exe_verdict */
	__u32 pad;
};

/* pl_listen_exes: who listens on a port of a network namespace. */
struct listen_key {
	__u64 netns; /* cookie */
	__u16 port; /* host order */
	__u8 pad[6];
};

struct listen_exe {
	struct exe_key exe;
	__u64 sock; /* address of the newest listener: read with probe_read only */
	__u32 listeners;
	__u32 mixed; /* 1: executables differ (SO_REUSEPORT); never accelerated */
};

/* ---- sockets ---- */

/* Four-tuple, own side first, ports in host order. Loopback addresses are never used as keys. */
struct flow_key {
	struct addr local;
	struct addr remote;
	__u16 local_port;
	__u16 remote_port;
};

/* pl_flows: an end of an accelerated connection, by the cookie of its socket. */
struct flow {
	__u64 sock; /* address of struct sock: read with probe_read only, never dereferenced */
	__u64 peer; /* cookie of the other end; 0: it is not accelerated, or not yet */
	__u32 run_bytes; /* sent since the other end last sent */
	__u32 run_messages;
	__u32 by_tcp; /* 1: TCP carries this direction, until the other end sends with nothing left to read */
	__u32 policy_generation; /* the connection was judged under it */
	__u32 denied; /* 1: a later policy forbids it */
	__u32 messages; /* sent; wraps */
	__u32 answered; /* `messages` of the other end when this one sent last */
	__u32 shifted; /* 1: a run in this direction went to TCP, and was told */
	__u64 redirected_bytes;
	__u64 received_bytes; /* redirected_bytes of the other end, once that is closed */
};

/* pl_habits: what connections between two identities were like of late. */
struct habit_key {
	__u32 src_identity;
	__u32 dst_identity;
	__u16 port; /* of the destination, host order */
	__u8 pad[2];
};

struct habit {
	__u64 since_ns; /* short connections are counted from here on */
	__u64 until_ns; /* until then the next ones are taken for short */
	__u64 stream_until_ns; /* and until then for streams */
	__u32 shorts;
	__u32 pad;
};

enum socket_flag {
	SOCKET_TRANSLATED = 1, /* `service` is what the application asked for */
	SOCKET_L7 = 2, /* redirected to the proxy */
	SOCKET_PASSIVE = 4, /* accepted */
	SOCKET_ACCEL = 8, /* in pl_sockhash */
	SOCKET_REPORTED = 16, /* an open event went out */
	SOCKET_DENIED = 32, /* a later policy forbids this connection */
	SOCKET_TRACKED = 64, /* was established under our eyes: identities are known */
	SOCKET_LOCAL = 128, /* both ends are on this node */
	SOCKET_MAY_ACCEL = 256, /* connecting side: nothing on this side forbids acceleration */
	SOCKET_HABIT = 512, /* connecting side: its end teaches whether the next one is worth it */
};

/*
 * pl_connections, pl_sockets: what we know of a TCP or UDP socket. src is always who connected.
 */
struct socket {
	struct addr service;
	__be16 service_port;
	__u16 flags; /* enum socket_flag */
	__u32 service_id;
	__u32 src_identity;
	__u32 dst_identity;
	__u32 on_behalf_of;
	__u32 policy_generation; /* the connection was judged under it */
	__u64 cgroup;
	__u64 opened_ns;
	__u32 pid;
	__u8 comm[PILLION_COMM_LEN];
	struct flow_key flow; /* TCP that connects: from the moment when the source port is chosen */
	__u64 cookie; /* TCP that connects */
	__u32 backend; /* key of pl_backends, 0: none was chosen */
	__u32 pad;
};

/* pl_traffic: sums over TCP connections, so that metrics miss none when events are dropped. */
struct traffic_key {
	__u32 src_identity;
	__u32 dst_identity;
	__u32 service; /* number of the ServicePort; 0: the destination's own address */
	__u32 passive; /* 1: told by the end that accepted */
};

struct traffic {
	__u64 opened;
	__u64 closed;
	__u64 sent_bytes; /* by the end that connected; of closed connections */
	__u64 received_bytes;
	__u64 retransmits;
};

/*
 * pl_udp_peers: (socket, peer) -> the service address that the application used, or the peer itself for a reply; and the
 * other way round, (socket, service address) -> the backend that its datagrams go to.
 */
struct udp_key {
	__u64 cookie;
	struct addr addr;
	__be16 port;
	__u8 pad[6];
};

struct udp_peer {
	struct addr addr;
	__be16 port;
	__u8 pad[2];
	__u32 backend; /* key of pl_backends, when `addr` is one */
	__u64 sent_ns; /* our last datagram to the peer that egress policy allowed: answers may come in */
	__u64 received_ns; /* its last datagram that ingress policy allowed: answers may go out */
};

/* pl_counters: per CPU, one u64 each. */
enum counter {
	COUNTER_EVENT_LOST = 0, /* ring buffer full */
	COUNTER_CONNECT_TRANSLATED,
	COUNTER_CONNECT_L7,
	COUNTER_CONNECT_BYPASS, /* L7 service, proxy away */
	COUNTER_CONNECT_REJECTED, /* L7 service, proxy away, FAILURE_REJECT */
	COUNTER_CONNECT_NO_ENDPOINT,
	COUNTER_DENY_EGRESS,
	COUNTER_DENY_INGRESS,
	COUNTER_DENY_OPEN, /* packets of connections that a later policy forbids */
	COUNTER_ACCEL_REDIRECTED, /* messages */
	COUNTER_ACCEL_TCP, /* messages of an accelerated pair that TCP carried: flow control */
	COUNTER_ACCEL_BULK, /* the same in a one-way run: every 32nd message */
	COUNTER_MAP_FULL, /* an insert failed */
	COUNTER_ORIGIN_MISSING, /* PILLION_ORIGIN asked for an unknown peer */
	COUNTER_PARSE_ERROR, /* packet that cannot be judged: dropped */
	COUNTER_SHADOW_DENY, /* what policies in Shadow mode would have denied */
	COUNTER_UDP_GONE, /* datagrams of sockets that are connected to an endpoint that went away */
	COUNTER_COUNT,
};

/* ---- events ---- */

enum event_kind {
	EVENT_OPEN = 1,
	EVENT_CLOSE = 2,
	EVENT_DENY = 3,
	EVENT_EXE = 4, /* an executable that pl_executables does not know yet */
	EVENT_SHIFT = 5, /* an accelerated connection goes on by TCP: a run in one direction, for the first time */
};

enum event_flag {
	EVENT_F_INGRESS = 1, /* seen at the destination */
	EVENT_F_L7 = 2, /* went to the proxy */
	EVENT_F_ACCEL = 4, /* accelerated */
	EVENT_F_OPEN_CONNECTION = 8, /* deny of a connection that was open already */
	EVENT_F_SHADOW = 16, /* deny that did not happen: the first of its kind, the others are only counted */
	EVENT_F_SHIFTED = 32, /* close: a run of it went by TCP */
};

/* How much is told: sums by identities are pl_traffic, events are opens, closes and shifts. */
enum telemetry {
	TELEMETRY_OFF = 0,
	TELEMETRY_SUMS = 1,
	TELEMETRY_ALL = 2,
};

/* pl_events: ring buffer. */
struct flow_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 cookie;
	__u64 duration_ns; /* close */
	__u64 bytes_sent; /* close; shift: around TCP so far */
	__u64 bytes_received; /* close */
	struct addr src;
	struct addr dst; /* after translation */
	struct addr service; /* what the application asked for; zero: the destination itself */
	__be16 src_port;
	__be16 dst_port;
	__be16 service_port;
	__u8 protocol;
	__u8 kind; /* enum event_kind */
	__u32 src_identity;
	__u32 dst_identity;
	__u32 rule; /* deny: which */
	__u32 srtt_us; /* close */
	__u32 retransmits; /* close */
	__u32 flags; /* enum event_flag */
	__u32 pid;
	__u8 comm[PILLION_COMM_LEN];
	__u64 exe_inode; /* EVENT_EXE */
	__u32 exe_device;
	__u32 direction; /* deny: enum direction whose policy refused */
};

#endif
