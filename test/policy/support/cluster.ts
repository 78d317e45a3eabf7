// SPDX-License-Identifier: Apache-2.0
// The cluster of the policy tests: namespaces x, y, z with pods a, b, c, a service for each pod, a prober in each. x and y are on
// one node, z alone on the other: what an ipBlock of the data means has a block of its own here, too.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, isIPv6 } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import {
  nodePaths,
  paths,
  unixRequest,
  type KubeObject,
} from '../../../packages/lab/src/index.ts'
import { must, pillion, until } from '../../support/lab.ts'
import type { Answer, Target } from './prober.ts'

export type Labels = Readonly<Record<string, string>>

export interface PodSpec {
  readonly namespace: string
  readonly name: string
  readonly labels: Labels
}

export interface Pod extends PodSpec {
  readonly address: string
  readonly address6: string
  /** Of the service that is only this pod. */
  readonly clusterIP: string
  readonly host: string
  /** Its labels are those that its service selects. */
  readonly served: boolean
}

/** What a test asks for: everything that may differ from one step to the next. */
export interface Desired {
  readonly namespaces: Readonly<Record<string, Labels>>
  readonly pods: readonly PodSpec[]
  readonly policies: readonly KubeObject[]
  /** Anything else. */
  readonly more?: readonly KubeObject[]
}

export const ports = [80, 81] as const
const protocols = ['TCP', 'UDP', 'SCTP'] as const
const nodes = ['node-1', 'node-2'] as const
const marker = { address: '10.96.99.99', firstPort: 10_000 }

const keyOf = ({ kind, metadata: { namespace = '', name } }: KubeObject): string =>
  `${kind}/${namespace}/${name}`

/** Pods of the nine, with the labels that the generator and Kubernetes' own tests give them. */
export const ninePods: readonly PodSpec[] = ['x', 'y', 'z'].flatMap((namespace) =>
  ['a', 'b', 'c'].map((name) => ({ namespace, name, labels: { pod: name } })),
)

export class Cluster {
  readonly #directory = mkdtempSync(join(tmpdir(), 'pillion-policy-'))
  #held = new Map<string, string>()
  #pods: readonly Pod[] = []
  #steps = 0

  /** A lab of two nodes with these pods. */
  static async up(desired: Desired): Promise<Cluster> {
    const cluster = new Cluster()
    try {
      await cluster.#start(desired)
    } catch (error) {
      await cluster.down()
      throw error
    }
    return cluster
  }

  async #start(desired: Desired): Promise<void> {
    const manifests = join(this.#directory, 'manifests')
    mkdirSync(manifests)
    const objects = this.#objects(desired)
    writeFileSync(join(manifests, 'all.json'), listOf(objects))
    await pillion(['lab', 'down'])
    await must(['lab', 'up', manifests, '--nodes', String(nodes.length)], 180_000)
    this.#held = new Map(objects.map((one) => [keyOf(one), JSON.stringify(one)]))
    await this.#settle(desired)
  }

  async down(): Promise<void> {
    await pillion(['lab', 'down'])
    rmSync(this.#directory, { recursive: true, force: true })
  }

  get pods(): readonly Pod[] {
    return this.#pods
  }

  /** Makes it so, and waits until every node's kernel has it. */
  async apply(desired: Desired): Promise<void> {
    const objects = this.#objects(desired)
    const wanted = new Map(objects.map((one) => [keyOf(one), JSON.stringify(one)]))
    // Namespaces last: they take with them what they hold.
    for (const key of [...this.#held.keys()].reverse()) {
      if (wanted.has(key)) continue
      const [kind = '', namespace = '', name = ''] = key.split('/')
      await lab('/delete', { kind, name, ...(namespace === '' ? {} : { namespace }) })
    }
    const changed = objects.filter(
      (one) => this.#held.get(keyOf(one)) !== wanted.get(keyOf(one)),
    )
    if (changed.length > 0) await this.#send(changed)
    this.#held = wanted
    await this.#settle(desired)
  }

  async #send(objects: readonly KubeObject[]): Promise<void> {
    const path = join(this.#directory, 'change.json')
    writeFileSync(path, listOf(objects))
    await lab('/apply', { path })
  }

  /** Pods first; then a service that nobody uses, with a port of its own: where that is in force, all before it is. */
  async #settle(desired: Desired): Promise<void> {
    await until('pods ready', async () => {
      const found = await this.#readPods(desired)
      if (found !== undefined) this.#pods = found
      return found !== undefined
    })
    const port = marker.firstPort + this.#steps++
    await this.#send([serviceOf('default', 'marker', {}, [port], marker.address)])
    for (const node of nodes) {
      await until(`configuration ${port} on ${node}`, async () => {
        const socket = nodePaths(node).agentSocket
        const { text } = await unixRequest({
          socket,
          path: '/debug/maps?map=pl_services',
        })
        return text.includes(String(port))
      })
    }
    await until('acknowledged', async () => {
      const { text } = await unixRequest({
        socket: paths.operatorAdmin,
        path: '/debug/status',
      })
      const { nodes: subscribers } = JSON.parse(text) as {
        nodes: { current?: boolean }[]
      }
      return subscribers.every(({ current }) => current === true)
    })
  }

  /** Undefined while a pod is not ready, or not yet behind its service. */
  async #readPods({ pods }: Desired): Promise<Pod[] | undefined> {
    const of = (kind: string) => lab<Observed[]>(`/objects?kind=${kind}`)
    const found = (list: readonly Observed[], namespace: string, name: string) =>
      list.find(({ metadata: m }) => m.namespace === namespace && m.name === name)
    const [objects, services] = [await of('Pod'), await of('Service')]
    const slices = await of('EndpointSlice')
    const known = pods.flatMap((pod) => {
      const { namespace, name } = pod
      const { status, metadata } = found(objects, namespace, name) ?? {}
      const service = `s-${namespace}-${name}`
      const clusterIP = found(services, namespace, service)?.spec?.clusterIP
      const address = status?.podIP
      const address6 = status?.podIPs?.find(({ ip }) => isIPv6(ip))?.ip
      const ready = status?.conditions?.find(({ type }) => type === 'Ready')
      if (address === undefined || address6 === undefined) return []
      if (clusterIP === undefined) return []
      if (ready?.status !== 'True') return []
      if (JSON.stringify(metadata?.labels) !== JSON.stringify(pod.labels)) return []
      const serves = slices.some(
        (slice) =>
          slice.metadata.labels?.['kubernetes.io/service-name'] === service &&
          slice.endpoints?.some(
            (one) => one.addresses.includes(address) && one.conditions?.ready === true,
          ),
      )
      const served = pod.labels['pod'] === name
      if (serves !== served) return []
      const host = `${service}.${namespace}.svc.cluster.local`
      return [{ ...pod, address, address6, clusterIP, host, served }]
    })
    return known.length === pods.length ? known : undefined
  }

  /** What a pod reaches, in the order of the targets. */
  async ask(pod: PodSpec, targets: readonly Target[]): Promise<Answer[]> {
    const socket = connect(this.#socketOf(pod))
    const answer = new Promise<string>((resolve, reject) => {
      socket.on('error', reject)
      createInterface({ input: socket }).once('line', resolve)
    })
    socket.write(`${JSON.stringify(targets)}\n`)
    try {
      return JSON.parse(await answer) as Answer[]
    } finally {
      socket.destroy()
    }
  }

  #socketOf({ namespace, name }: PodSpec): string {
    return join(this.#directory, `${namespace}-${name}.sock`)
  }

  #objects({ namespaces, pods, policies, more = [] }: Desired): KubeObject[] {
    return [
      ...Object.entries(namespaces).map(([name, labels]) => ({
        ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } },
      })),
      ...pods.flatMap((pod) => [this.#podObject(pod), podService(pod)]),
      ...policies,
      ...more,
    ]
  }

  #podObject(pod: PodSpec): KubeObject {
    const { namespace, name, labels } = pod
    const prober = join(import.meta.dirname, 'prober.ts')
    return {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { namespace, name, labels } },
      spec: {
        nodeName: namespace === 'z' ? 'node-2' : 'node-1',
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: 'prober',
            command: ['node', prober, this.#socketOf(pod)],
            ports: ports.flatMap((containerPort) =>
              protocols.map((protocol) => ({
                name: `serve-${containerPort}-${protocol.toLowerCase()}`,
                ...{ containerPort, protocol },
              })),
            ),
            readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 },
          },
        ],
      },
    } as KubeObject
  }
}

interface Observed {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Labels
  }
  readonly spec?: { readonly clusterIP?: string }
  readonly status?: {
    readonly podIP?: string
    readonly podIPs?: readonly { readonly ip: string }[]
    readonly conditions?: readonly { type: string; status: string }[]
  }
  readonly endpoints?: readonly {
    readonly addresses: readonly string[]
    readonly conditions?: { readonly ready?: boolean }
  }[]
}

function podService({ namespace, name }: PodSpec): KubeObject {
  return serviceOf(namespace, `s-${namespace}-${name}`, { pod: name }, ports)
}

function serviceOf(
  namespace: string,
  name: string,
  selector: Labels,
  numbers: readonly number[],
  clusterIP?: string,
): KubeObject {
  return {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { namespace, name } },
    spec: {
      ...(clusterIP === undefined ? { selector } : { clusterIP }),
      ports: numbers.flatMap((port) =>
        ['TCP', 'UDP'].map((protocol) => ({
          name: `${protocol.toLowerCase()}-${port}`,
          ...{ port, protocol },
        })),
      ),
    },
  } as KubeObject
}

const listOf = (items: readonly KubeObject[]): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'List', items })

/** The lab's supervisor: a command line each time would be most of the test's time. */
async function lab<T>(path: string, body?: object): Promise<T> {
  const { status, text } = await unixRequest({
    ...{ socket: paths.socket, path, timeoutMs: 60_000 },
    ...(body === undefined ? {} : { method: 'POST', body }),
  })
  if (status !== 200) throw new Error(`${path}: ${text}`)
  return JSON.parse(text) as T
}
