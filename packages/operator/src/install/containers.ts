// SPDX-License-Identifier: Apache-2.0
// PURE: the containers of node pods, each with no more than it needs; docs/install.md says what each right is for.
import {
  drainMs,
  nodeBinary,
  operatorPort,
  operatorService,
  paths,
  ports,
  proxyUid,
} from './names.ts'
import type { FilterSource, Json, Resources } from './objects.ts'

const restricted = {
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  privileged: false,
} as const

/** Root, for bpffs and cgroupfs are root's; of root's powers only these and `more`. */
const agentSecurity = (...more: string[]): Json => ({
  ...restricted,
  runAsUser: 0,
  runAsGroup: 0,
  capabilities: { drop: ['ALL'], add: ['BPF', 'NET_ADMIN', 'PERFMON', ...more] },
  // CRI-O's default profile allows bpf(2) to CAP_SYS_ADMIN only (containerd's since late 2022 to CAP_BPF): that right would cost more
  // than the filter is worth. Everything else of the pod has RuntimeDefault.
  seccompProfile: { type: 'Unconfined' },
  // The runtimes' default profile refuses writing below /sys/fs/bpf and looking at processes of other profiles (moby/profiles,
  // apparmor/template.go); container_t of SELinux refuses bpf(2).
  appArmorProfile: { type: 'Unconfined' },
  seLinuxOptions: { type: 'spc_t' },
})

const env = (name: string, fieldPath: string): Json => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
})

const agentSocket = `${paths.agentRun}/agent.sock`
const proxySocket = `${paths.proxyRun}/proxy.sock`

/** Where things are: what the agent and its removal share. */
const places = [
  `--pin-dir=${paths.pins}`,
  `--cgroup-root=${paths.cgroup}`,
  `--state-dir=${paths.state}`,
] as const

const hostMounts = [
  // Mounts of the host that come later are seen; the agent may make none.
  { name: 'bpf', mountPath: paths.bpf, mountPropagation: 'HostToContainer' },
  {
    name: 'cgroup',
    mountPath: paths.cgroup,
    mountPropagation: 'HostToContainer',
    readOnly: true,
  },
  { name: 'state', mountPath: paths.state },
] as const

/** Without hostPID nothing can be signalled, and read only nothing written, to a process that is seen there. */
const procMount = { name: 'proc', mountPath: paths.proc, readOnly: true } as const

const trustMounts = [
  { name: 'ca', mountPath: paths.ca, readOnly: true },
  { name: 'token', mountPath: paths.token, readOnly: true },
] as const

const operatorArgs = (namespace: string): string[] => [
  '--node=$(NODE_NAME)',
  `--operator=${operatorService}.${namespace}.svc:${operatorPort}`,
  `--operator-ca=${paths.ca}/ca.crt`,
  `--operator-token=${paths.token}/token`,
]

const agentDefaults: Resources = { requests: { cpu: '50m', memory: '256Mi' } }
const proxyDefaults: Resources = { requests: { cpu: '100m', memory: '128Mi' } }

function resourcesOf(given: Resources | undefined, defaults: Resources): Json {
  const { requests = defaults.requests, limits = defaults.limits } = given ?? {}
  return { ...(requests && { requests }), ...(limits && { limits }) }
}

/**
 * The proxy's cgroup is the one of the pod, found by the pod's uid: it is known before the proxy starts and survives restarts of
 * its container. So the agent's container may use the socket options as well; it has greater rights anyway.
 */
export function agentContainer(
  image: string,
  resources: Resources | undefined,
  namespace: string,
  looksAtExecutables: boolean,
): Json {
  return {
    name: 'agent',
    image,
    args: [
      ...operatorArgs(namespace),
      ...places,
      `--proc-dir=${looksAtExecutables ? paths.proc : ''}`,
      '--proxy-pod-uid=$(POD_UID)',
      `--admin-socket=${agentSocket}`,
      `--debug-port=${ports.debug}`,
      `--metrics-port=${ports.metrics}`,
      '--proxy-address=$(HOST_IPS)',
      `--proxy-port=${ports.proxy}`,
      `--proxy-admin-socket=${proxySocket}`,
    ],
    env: [
      env('NODE_NAME', 'spec.nodeName'),
      env('POD_UID', 'metadata.uid'),
      env('HOST_IPS', 'status.hostIPs'),
    ],
    ports: [{ name: 'metrics', containerPort: ports.metrics }],
    resources: resourcesOf(resources, agentDefaults),
    securityContext: looksAtExecutables ? agentSecurity('SYS_PTRACE') : agentSecurity(),
    ...probes(ports.debug),
    volumeMounts: [
      ...hostMounts,
      ...(looksAtExecutables ? [procMount] : []),
      ...trustMounts,
      { name: 'agent-run', mountPath: paths.agentRun },
      { name: 'proxy-run', mountPath: paths.proxyRun },
    ],
  }
}

/** Of the kubelet, on the node's own loopback: pods on the host's network are asked there, and nobody else can ask. */
function probes(port: number): Json {
  const ask = (path: string): Json => ({ httpGet: { host: '127.0.0.1', port, path } })
  return {
    startupProbe: { ...ask('/healthz'), failureThreshold: 30, periodSeconds: 2 },
    livenessProbe: { ...ask('/healthz'), periodSeconds: 10, timeoutSeconds: 5 },
    readinessProbe: { ...ask('/readyz'), periodSeconds: 5, timeoutSeconds: 5 },
  }
}

export function proxyContainer(
  image: string,
  resources: Resources | undefined,
  namespace: string,
  filters: FilterSource = {},
): Json {
  return {
    name: 'proxy',
    image,
    args: [
      ...operatorArgs(namespace),
      '--listen=$(HOST_IPS)',
      `--port=${ports.proxy}`,
      `--admin-socket=${proxySocket}`,
      `--health-port=${ports.proxyHealth}`,
      `--drain-timeout=${drainMs}`,
      ...filterMounts(filters).map(({ flag, mountPath }) => `--${flag}=${mountPath}`),
    ],
    env: [env('NODE_NAME', 'spec.nodeName'), env('HOST_IPS', 'status.hostIPs')],
    ports: [{ name: 'proxy', containerPort: ports.proxy }],
    resources: resourcesOf(resources, proxyDefaults),
    securityContext: {
      ...restricted,
      runAsNonRoot: true,
      runAsUser: proxyUid,
      runAsGroup: proxyUid,
      capabilities: { drop: ['ALL'] },
    },
    ...probes(ports.proxyHealth),
    volumeMounts: [
      ...trustMounts,
      { name: 'proxy-run', mountPath: paths.proxyRun },
      ...filterMounts(filters).map(({ name, mountPath }) => ({
        name,
        mountPath,
        readOnly: true,
      })),
    ],
  }
}

/** Filters of users, and what they may read: only the proxy sees either. */
function filterMounts({
  configMap,
  secret,
}: FilterSource): { flag: string; name: string; mountPath: string }[] {
  const code = { flag: 'filters-dir', name: 'filters', mountPath: paths.filters }
  const secrets = {
    flag: 'filter-secrets-dir',
    name: 'filter-secrets',
    mountPath: paths.filterSecrets,
  }
  return [
    ...(configMap === undefined ? [] : [code]),
    ...(secret === undefined ? [] : [secrets]),
  ]
}

const removalResources = resourcesOf(undefined, {
  requests: { cpu: '10m', memory: '64Mi' },
})

/** Takes the datapath away, and fails while something of ours is left. */
export function uninstallContainer(image: string): Json {
  return {
    name: 'uninstall',
    image,
    args: ['--uninstall', ...places],
    // The condition of the Mesh says what was in the way.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    resources: removalResources,
    securityContext: agentSecurity(),
    volumeMounts: hostMounts,
  }
}

/**
 * `uninstall` is started again and again until it succeeds; only then `clean` runs and the pod is Ready, which is how the
 * operator knows.
 */
export function removalContainers(image: string): Json {
  return {
    initContainers: [uninstallContainer(image)],
    containers: [
      {
        name: 'clean',
        image,
        command: [nodeBinary, '-e', 'setInterval(() => {}, 2 ** 30)'],
        resources: removalResources,
        securityContext: {
          ...restricted,
          runAsNonRoot: true,
          runAsUser: proxyUid,
          capabilities: { drop: ['ALL'] },
        },
      },
    ],
  }
}
