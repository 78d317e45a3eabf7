// SPDX-License-Identifier: Apache-2.0
// Which program goes on which hook, as a table.

/** enum bpf_attach_type of linux/bpf.h, as far as used. */
export const AttachType = {
  cgroupInetIngress: 0,
  cgroupInetEgress: 1,
  cgroupSockOps: 3,
  skMsgVerdict: 7,
  cgroupInet4Connect: 10,
  cgroupInet6Connect: 11,
  cgroupUdp4Sendmsg: 14,
  cgroupUdp6Sendmsg: 15,
  cgroupUdp4Recvmsg: 19,
  cgroupUdp6Recvmsg: 20,
  cgroupGetsockopt: 21,
  cgroupSetsockopt: 22,
  cgroupInet4Getpeername: 29,
  cgroupInet6Getpeername: 30,
  cgroupInetSockRelease: 34,
} as const

/** `node`: the cgroup of all pods and processes; `proxy`: the proxy's alone; `sockhash`: the map pl_sockhash. */
export type AttachTarget = 'node' | 'proxy' | 'sockhash'

/** What a node can go without; `featureCosts` says what that means. Without any other program the mesh does not run. */
export type OptionalFeature =
  'acceleration' | 'l7' | 'proxy-death' | 'peer-names' | 'connect-errors' | 'listeners'

/** What a node that lacks it does instead. */
export const featureCosts: Readonly<Record<OptionalFeature, string>> = {
  acceleration: 'connections on this node go by TCP, as between nodes',
  l7: 'services declared L7 are in their failure mode on this node',
  'proxy-death':
    'a dead proxy is noticed when its heartbeat is stale (400 ms) instead of at once',
  'peer-names': 'getpeername shows the endpoint, not the service that was asked for',
  'connect-errors':
    'a service without endpoints is refused with EPERM instead of ECONNREFUSED',
  listeners:
    'acceleration Auto accelerates nothing, as the kernel cannot tell who listens; On works',
}

/** Why packets are looked at: some policy exists; an endpoint is gone that connected UDP sockets may still send to. */
export type Reason = 'policy' | 'gone-endpoint'

export interface Attachment {
  /** Function name in the object. */
  readonly program: string
  /** File in bpf/, without .bpf.c. */
  readonly object: string
  readonly target: AttachTarget
  readonly type: number
  /**
   * Only while there is one of these. Without any, every packet would pass these programs to learn that it may pass:
   * sixteen times in a connection set-up.
   */
  readonly onlyWhile?: readonly Reason[]
  /** All that is lost without it. Absent: nothing works without it. */
  readonly feature?: OptionalFeature
}

/** In the order of attachment: what records comes before what relies on it, what refuses comes last. */
export const attachments: readonly Attachment[] = [
  {
    program: 'pl_sk_msg',
    object: 'splice',
    target: 'sockhash',
    type: AttachType.skMsgVerdict,
    feature: 'acceleration',
  },
  {
    program: 'pl_getsockopt',
    object: 'sockopt',
    target: 'proxy',
    type: AttachType.cgroupGetsockopt,
    feature: 'l7',
  },
  {
    program: 'pl_setsockopt',
    object: 'sockopt',
    target: 'proxy',
    type: AttachType.cgroupSetsockopt,
    feature: 'l7',
  },
  {
    program: 'pl_sock_release',
    object: 'sockopt',
    target: 'proxy',
    type: AttachType.cgroupInetSockRelease,
    feature: 'proxy-death',
  },
  {
    program: 'pl_close',
    object: 'close',
    target: 'node',
    type: AttachType.cgroupInetSockRelease,
  },
  {
    program: 'pl_sockops',
    object: 'sockops',
    target: 'node',
    type: AttachType.cgroupSockOps,
  },
  {
    program: 'pl_getpeername4',
    object: 'peer',
    target: 'node',
    type: AttachType.cgroupInet4Getpeername,
    feature: 'peer-names',
  },
  {
    program: 'pl_getpeername6',
    object: 'peer',
    target: 'node',
    type: AttachType.cgroupInet6Getpeername,
    feature: 'peer-names',
  },
  {
    program: 'pl_recvmsg4',
    object: 'peer',
    target: 'node',
    type: AttachType.cgroupUdp4Recvmsg,
  },
  {
    program: 'pl_recvmsg6',
    object: 'peer',
    target: 'node',
    type: AttachType.cgroupUdp6Recvmsg,
  },
  {
    program: 'pl_sendmsg4',
    object: 'connect',
    target: 'node',
    type: AttachType.cgroupUdp4Sendmsg,
  },
  {
    program: 'pl_sendmsg6',
    object: 'connect',
    target: 'node',
    type: AttachType.cgroupUdp6Sendmsg,
  },
  {
    program: 'pl_connect4',
    object: 'connect',
    target: 'node',
    type: AttachType.cgroupInet4Connect,
  },
  {
    program: 'pl_connect6',
    object: 'connect',
    target: 'node',
    type: AttachType.cgroupInet6Connect,
  },
  {
    program: 'pl_ingress',
    object: 'ingress',
    target: 'node',
    type: AttachType.cgroupInetIngress,
    onlyWhile: ['policy'],
  },
  {
    program: 'pl_egress',
    object: 'ingress',
    target: 'node',
    type: AttachType.cgroupInetEgress,
    onlyWhile: ['policy', 'gone-endpoint'],
  },
]

/** Helpers (without bpf_) that our programs do without where the kernel is too old for them: HAS_HELPER in bpf/. */
export const optionalHelpers: readonly {
  /** What HAS_HELPER asks for. */
  readonly helper: string
  readonly feature: OptionalFeature
  /** For people. */
  readonly needs: string
}[] = [
  {
    helper: 'set_retval',
    feature: 'connect-errors',
    needs: 'bpf_set_retval (Linux 5.18)',
  },
  {
    helper: 'get_attach_cookie', // of the same release
    feature: 'listeners',
    needs: 'bpf_get_netns_cookie for sockops (Linux 5.15)',
  },
]

/** Objects to load, each once. */
export const objects: readonly string[] = [...new Set(attachments.map((a) => a.object))]
