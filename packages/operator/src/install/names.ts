// SPDX-License-Identifier: Apache-2.0
// Names, ports and directories that the manifests, the images and the DaemonSet of the nodes agree on.

/** Name of the DaemonSet, of its Service and its PodMonitor. */
export const nodeName = 'pillion-node'
/** Label and, with a hash of the node, name of the pods that take the datapath from nodes that are left out. */
export const cleanerName = 'pillion-clean'
export const nodeServiceAccount = 'pillion-node'
/** Service of the operator, in its namespace. */
export const operatorService = 'pillion-operator'
export const operatorPort = 15_010

export const finalizer = 'mesh.pillion.dev/datapath'
/** Of the template of node pods: pods that have another one are to be replaced. */
export const revisionAnnotation = 'mesh.pillion.dev/revision'
/** Of the DaemonSet: why and where the roll-out of a revision stopped. Removing it goes on. */
export const haltedAnnotation = 'mesh.pillion.dev/halted'

/** Of the DaemonSet: nodes that may have a datapath (leaving.ts). */
export const carriersAnnotation = 'mesh.pillion.dev/nodes'

export const nodeLabels = {
  'app.kubernetes.io/name': nodeName,
  'app.kubernetes.io/part-of': 'pillion',
} as const

/** In both processes' containers. */
export const paths = {
  cgroup: '/sys/fs/cgroup',
  bpf: '/sys/fs/bpf',
  pins: '/sys/fs/bpf/pillion',
  state: '/var/lib/pillion',
  /** The host's, read only. */
  proc: '/host/proc',
  /** Only the agent sees it: its socket is as good as its privileges. */
  agentRun: '/run/pillion/agent',
  proxyRun: '/run/pillion/proxy',
  ca: '/etc/pillion/ca',
  token: '/var/run/secrets/pillion',
  filters: '/etc/pillion/filters',
  filterSecrets: '/etc/pillion/filter-secrets',
} as const

export const ports = {
  proxy: 15_001,
  /** On loopback, as the agent's debug port: for the kubelet. */
  proxyHealth: 15_021,
  debug: 15_099,
  metrics: 15_090,
} as const

/** Of the proxy's process, and of the group that shares its sockets. */
export const proxyUid = 15_021

/** Where the images have Node.js. */
export const nodeBinary = '/usr/local/bin/node'
/** Where the operator's image has what asks its socket (images/probe.c). */
export const probeBinary = '/usr/local/bin/probe'

/** How long the proxy finishes requests, and how long until the kubelet ends a pod by force. */
export const drainMs = 25_000
export const graceSeconds = 40
