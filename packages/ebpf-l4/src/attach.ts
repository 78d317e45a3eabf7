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

export interface Attachment {
  /** Function name in the object. */
  readonly program: string
  /** File in bpf/, without .bpf.c. */
  readonly object: string
  readonly target: AttachTarget
  readonly type: number
  /**
   * Only while some policy exists. Without any, every packet would pass these programs to learn that it may pass:
   * sixteen times in a connection set-up.
   */
  readonly onlyWithPolicy?: true
}

/** In the order of attachment: what records comes before what relies on it, what refuses comes last. */
export const attachments: readonly Attachment[] = [
  {
    program: 'pl_sk_msg',
    object: 'splice',
    target: 'sockhash',
    type: AttachType.skMsgVerdict,
  },
  {
    program: 'pl_getsockopt',
    object: 'sockopt',
    target: 'proxy',
    type: AttachType.cgroupGetsockopt,
  },
  {
    program: 'pl_setsockopt',
    object: 'sockopt',
    target: 'proxy',
    type: AttachType.cgroupSetsockopt,
  },
  {
    program: 'pl_sock_release',
    object: 'sockopt',
    target: 'proxy',
    type: AttachType.cgroupInetSockRelease,
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
  },
  {
    program: 'pl_getpeername6',
    object: 'peer',
    target: 'node',
    type: AttachType.cgroupInet6Getpeername,
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
    onlyWithPolicy: true,
  },
  {
    program: 'pl_egress',
    object: 'ingress',
    target: 'node',
    type: AttachType.cgroupInetEgress,
    onlyWithPolicy: true,
  },
]

/** Objects to load, each once. */
export const objects: readonly string[] = [...new Set(attachments.map((a) => a.object))]
