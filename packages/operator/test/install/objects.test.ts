// SPDX-License-Identifier: Apache-2.0
// The DaemonSet: least privilege, flags that exist, revisions.
import { createServer } from 'node:http'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { socketProbe } from '../../src/install/containers.ts'
import { nodeDaemonSet, revisionIn, type MeshInstall } from '../../src/install/objects.ts'

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
    capabilities: { drop: ['ALL'], add: ['BPF', 'NET_ADMIN', 'PERFMON'] },
    seccompProfile: { type: 'Unconfined' },
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

t.test('the probe asks a socket', async (t) => {
  const socket = join(t.testdir(), 's.sock')
  let code = 200
  const server = createServer((_, response) => response.writeHead(code).end())
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  t.teardown(() => server.close())
  const probe = async (path: string): Promise<number | null> => {
    const { exec } = socketProbe('/readyz', path) as { exec: { command: string[] } }
    const child = spawn(process.execPath, exec.command.slice(1))
    return new Promise((resolve) => child.once('exit', resolve))
  }
  t.equal(await probe(socket), 0)
  code = 503
  t.equal(await probe(socket), 1)
  t.equal(await probe(`${socket}.none`), 1)
})
