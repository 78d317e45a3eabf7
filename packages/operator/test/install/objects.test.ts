// SPDX-License-Identifier: Apache-2.0
// The DaemonSet: least privilege, flags that exist, revisions.
import t from 'tap'
import {
  cleanerPod,
  cleanerRevision,
  nodeDaemonSet,
  revisionIn,
  type MeshInstall,
} from '../../src/install/objects.ts'

interface Container {
  readonly name: string
  readonly image: string
  readonly args: readonly string[]
  readonly securityContext: Record<string, unknown>
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
}
interface PodSpec extends Record<string, unknown> {
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly volumes: readonly { readonly name: string }[]
}

const options = {
  namespace: 'pillion-system',
  agentImage: 'pillion-agent:1',
  proxyImage: 'pillion-proxy:1',
  isRemoval: false,
}

function podSpec(spec: MeshInstall = {}, change: Partial<typeof options> = {}): PodSpec {
  const made = nodeDaemonSet(spec, { ...options, ...change })
  return (made['spec'] as { template: { spec: PodSpec } }).template.spec
}

const named = ({ containers }: PodSpec, name: string): Container => {
  const found = containers.find((each) => each.name === name)
  if (found === undefined) throw new TypeError(name)
  return found
}

t.test('nobody has more than it needs', async (t) => {
  const agent = named(podSpec(), 'agent')
  const least = {
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
  }
  t.strictSame(agent.securityContext, {
    ...least,
    runAsUser: 0,
    runAsGroup: 0,
    capabilities: { drop: ['ALL'], add: ['BPF', 'NET_ADMIN', 'PERFMON', 'SYS_PTRACE'] },
    seccompProfile: { type: 'Unconfined' },
    appArmorProfile: { type: 'Unconfined' },
    seLinuxOptions: { type: 'spc_t' },
  })
  t.strictSame(named(podSpec(), 'proxy').securityContext, {
    ...least,
    runAsNonRoot: true,
    runAsUser: 15_021,
    runAsGroup: 15_021,
    capabilities: { drop: ['ALL'] },
  })
  const spec = podSpec()
  t.match(spec['securityContext'], { seccompProfile: { type: 'RuntimeDefault' } })
  t.equal(spec['automountServiceAccountToken'], false)
  for (const field of ['hostPID', 'hostIPC']) t.notOk(field in spec, field)
  const host = named(spec, 'proxy').volumeMounts?.map(({ name }) => name)
  t.strictSame(host, ['ca', 'token', 'proxy-run'], 'the proxy sees nothing of the host')
})

t.test('filters of users and their secrets are mounted for the proxy only', async (t) => {
  const spec = podSpec({ filters: { configMap: 'code', secret: 'keys' } })
  const proxy = named(spec, 'proxy')
  t.match(proxy.args, {
    [proxy.args.length - 2]: '--filters-dir=/etc/pillion/filters',
    [proxy.args.length - 1]: '--filter-secrets-dir=/etc/pillion/filter-secrets',
  })
  t.strictSame(proxy.volumeMounts?.slice(-2), [
    { name: 'filters', mountPath: '/etc/pillion/filters', readOnly: true },
    { name: 'filter-secrets', mountPath: '/etc/pillion/filter-secrets', readOnly: true },
  ])
  const volumes = new Map(spec.volumes.map((volume) => [volume.name, volume]))
  t.strictSame(volumes.get('filters'), {
    name: 'filters',
    configMap: { name: 'code', optional: true },
  })
  t.strictSame(volumes.get('filter-secrets'), {
    name: 'filter-secrets',
    secret: { secretName: 'keys', optional: true, defaultMode: 0o440 },
  })
  const agent = named(spec, 'agent')
  t.notMatch(JSON.stringify(agent), /filters|filter-secrets/)
  const only = podSpec({ filters: { configMap: 'code' } })
  t.equal(only.volumes.filter(({ name }) => name.startsWith('filter')).length, 1)
  t.notMatch(JSON.stringify(podSpec()), /filter/, 'nothing unless it is asked for')
})

t.test('mounts have volumes, and paths are below them', async (t) => {
  for (const isRemoval of [false, true]) {
    const { containers, initContainers = [], volumes } = podSpec({}, { isRemoval })
    const names = volumes.map(({ name }) => name)
    for (const { name, args = [], volumeMounts = [] } of [
      ...containers,
      ...initContainers,
    ]) {
      t.strictSame(
        volumeMounts.filter((mount) => !names.includes(mount.name)),
        [],
        name,
      )
      const files = args.flatMap((arg) => /=(\/\S+)/.exec(arg)?.[1] ?? [])
      const isMounted = (path: string): boolean =>
        volumeMounts.some(({ mountPath }) => `${path}/`.startsWith(`${mountPath}/`))
      t.strictSame(
        files.filter((path) => !isMounted(path)),
        [],
        `${name}: ${files.join()}`,
      )
    }
  }
})

t.test('the same Mesh has the same revision, another one another', async (t) => {
  const revision = (...given: Parameters<typeof podSpec>): string =>
    revisionIn(nodeDaemonSet(given[0] ?? {}, { ...options, ...given[1] }))
  const first = revision()
  t.match(first, /^[0-9a-f]{16}$/)
  t.equal(revision({ nodeSelector: {} }), first)
  t.equal(revision({ nodeSelector: { mesh: 'yes' } }), first, 'where is not what')
  const images = { agent: 'pillion-agent:2' }
  t.not(revision({ images }), first)
  t.equal(revision({ images }), revision({}, { agentImage: 'pillion-agent:2' }))
  t.not(revision({ resources: { proxy: { limits: { cpu: '1' } } } }), first)
  t.not(revision({}, { isRemoval: true }), first)
})

t.test('removal goes wherever a datapath may be', async (t) => {
  const nodeSelector = { mesh: 'yes' }
  t.strictSame(podSpec({ nodeSelector })['nodeSelector'], nodeSelector)
  t.equal(podSpec({ nodeSelector }, { isRemoval: true })['nodeSelector'], undefined)
})

t.test('what cleans a node is what a removal runs, once', async (t) => {
  const pod = cleanerPod({}, options, 'node-1')
  const spec = pod['spec'] as unknown as PodSpec
  const [uninstall] = podSpec({}, { isRemoval: true }).initContainers ?? []
  t.strictSame(spec.containers, [uninstall])
  t.match(spec, { nodeName: 'node-1', restartPolicy: 'OnFailure', hostNetwork: true })
  const volumes = spec.volumes.map(({ name }) => name)
  const mounts = uninstall?.volumeMounts?.map(({ name }) => name) ?? []
  t.strictSame(
    mounts.filter((name) => !volumes.includes(name)),
    [],
  )
  t.not(cleanerPod({}, options, 'node-2').metadata.name, pod.metadata.name)
  t.equal(revisionIn(pod), cleanerRevision({}, options))
  t.not(
    cleanerRevision({ images: { agent: 'pillion-agent:2' } }, options),
    revisionIn(pod),
  )
})

t.test('a kubelet asks loopback; nobody starts a process for it', async (t) => {
  const ports = { agent: 15_099, proxy: 15_021 }
  for (const [name, port] of Object.entries(ports)) {
    const container = named(podSpec(), name) as unknown as Record<string, object>
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      t.match(container[probe], { httpGet: { host: '127.0.0.1', port } }, name)
      t.notMatch(container[probe], { exec: {} })
    }
  }
  t.ok(named(podSpec(), 'proxy').args.includes('--health-port=15021'))
})

t.test('the right to look at executables, only where it is needed', async (t) => {
  const looks = (spec: MeshInstall) => {
    const made = podSpec(spec)
    const { args, securityContext, volumeMounts = [] } = named(made, 'agent')
    const { add } = securityContext['capabilities'] as { add: string[] }
    return {
      right: add.includes('SYS_PTRACE'),
      volume: made.volumes.some(({ name }) => name === 'proc'),
      mount: volumeMounts.find(({ name }) => name === 'proc'),
      flag: args.find((arg) => arg.startsWith('--proc-dir')),
    }
  }
  const yes = {
    right: true,
    volume: true,
    mount: { name: 'proc', mountPath: '/host/proc', readOnly: true },
    flag: '--proc-dir=/host/proc',
  }
  t.strictSame(looks({}), yes)
  t.strictSame(looks({ acceleration: 'Auto' }), yes)
  const no = { right: false, volume: false, mount: undefined, flag: '--proc-dir=' }
  t.strictSame(looks({ acceleration: 'On' }), no)
  t.strictSame(looks({ acceleration: 'Off' }), no)
  const removal = podSpec({}, { isRemoval: true }).initContainers?.[0]?.securityContext
  t.notMatch(JSON.stringify(removal), /SYS_PTRACE/)
})
