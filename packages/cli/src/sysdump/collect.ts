// SPDX-License-Identifier: Apache-2.0
// What goes into a sysdump. Each piece may fail alone: then the archive says why instead.
import { messageOf } from '@pillion/lab'
import type { Installation } from '../cluster/connect.ts'
import { Debug } from '../cluster/debug.ts'
import { collection, Objects } from '../cluster/objects.ts'
import { containerOf, type InstalledPods, type Pod, type Role } from '../cluster/pods.ts'
import { redact, redactLog, scrub } from './redact.ts'
import type { Entry } from './tar.ts'

/** Bounds of an archive. */
export const sysdumpLimits = {
  /** Nodes whose processes are asked; the others are in objects and status. */
  nodes: 20,
  /** Lines of each log. */
  logLines: 5000,
  /** Characters of one file; what is longer is cut. */
  fileLength: 64 * 1024 * 1024,
} as const

/** One file to be made. */
export interface Piece {
  readonly path: string
  readonly get: () => Promise<string>
}

const kinds: readonly (readonly [string, string])[] = [
  ['mesh.pillion.dev/v1alpha1', 'Mesh'],
  ['mesh.pillion.dev/v1alpha1', 'L7Service'],
  ['mesh.pillion.dev/v1alpha1', 'AccessPolicy'],
  ['gateway.networking.k8s.io/v1', 'HTTPRoute'],
  ['gateway.networking.k8s.io/v1', 'GRPCRoute'],
  ['networking.k8s.io/v1', 'NetworkPolicy'],
  ['v1', 'Node'],
]

/** Of the installation's own namespace. */
const ownKinds: readonly (readonly [string, string])[] = [
  ['v1', 'Pod'],
  ['v1', 'Event'],
  ['v1', 'Service'],
  ['apps/v1', 'Deployment'],
  ['apps/v1', 'DaemonSet'],
  ['coordination.k8s.io/v1', 'Lease'],
]

const ourKinds = new Set(kinds.slice(0, 5).map(([, kind]) => kind))

const paths: Readonly<Record<Role, readonly string[]>> = {
  operator: ['/debug/status', '/metrics'],
  agent: [
    '/debug/config',
    '/debug/diff',
    '/debug/workloads',
    '/debug/maps',
    '/debug/shadow',
    '/debug/features',
    '/debug/preflight',
    '/metrics',
  ],
  proxy: ['/metrics'],
}

const json = (value: unknown): string => `${JSON.stringify(redact(value), null, 2)}\n`

/** Pieces of a cluster. */
export async function clusterPieces(
  installation: Installation,
  nodes: readonly string[],
): Promise<Piece[]> {
  const { cluster, namespace } = installation
  const objects = new Objects(cluster)
  const debug = new Debug(installation)
  const listed = (version: string, kind: string, where?: string): Piece => ({
    path: `objects/${kind.toLowerCase()}.json`,
    get: async () => json(await objects.list(version, kind, where)),
  })
  // Without a right to list pods everything else is still worth having.
  const none: InstalledPods = { operator: [], node: [] }
  const pods = await debug.pods().catch(() => none)
  const wanted = pods.node
    .filter(({ spec }) => nodes.length === 0 || nodes.includes(spec.nodeName ?? ''))
    .slice(0, sysdumpLimits.nodes)
  return [
    {
      path: 'version.json',
      get: async () => json(await cluster.client.request({ path: '/version' })),
    },
    ...kinds.map(([version, kind]) => listed(version, kind)),
    ...ownKinds.map(([version, kind]) => listed(version, kind, namespace)),
    {
      path: 'objects/events-of-our-kinds.json',
      get: async () => {
        const events = await objects.list('v1', 'Event')
        const about = (event: (typeof events)[number]): string =>
          (event['involvedObject'] as { kind?: string } | undefined)?.kind ?? ''
        return json(events.filter((event) => ourKinds.has(about(event))))
      },
    },
    ...pods.operator.flatMap((pod) => podPieces(installation, debug, pod, ['operator'])),
    ...wanted.flatMap((pod) => podPieces(installation, debug, pod, ['agent', 'proxy'])),
  ]
}

function podPieces(
  { cluster, namespace }: Installation,
  debug: Debug,
  pod: Pod,
  roles: readonly Role[],
): Piece[] {
  const { name } = pod.metadata
  const base = pod.spec.nodeName === undefined ? name : `${pod.spec.nodeName}/${name}`
  const logPath = `${collection('v1', 'pods', namespace)}/${name}/log`
  return roles.flatMap((role) => {
    const container = containerOf(pod, role)?.name ?? role
    const log = (previous: boolean): Piece => ({
      path: `pods/${base}/${role}${previous ? '.previous' : ''}.log`,
      get: async () => {
        const query = {
          container,
          tailLines: String(sysdumpLimits.logLines),
          timestamps: 'false',
          previous: String(previous),
        }
        return redactLog(await cluster.client.text({ path: logPath, query }))
      },
    })
    const restarted = (pod.status?.containerStatuses ?? []).some(
      (status) => status.name === container && status.restartCount > 0,
    )
    return [
      ...paths[role].map((path) => ({
        path: `pods/${base}/${role}${path.replaceAll('/', '-')}.${path.startsWith('/debug') ? 'json' : 'txt'}`,
        get: async () => answerText(path, await debug.ask(pod, role, path)),
      })),
      log(false),
      ...(restarted ? [log(true)] : []),
    ]
  })
}

/** An answer of an admin endpoint, without secrets. */
export function answerText(
  path: string,
  { status, text }: { readonly status: number; readonly text: string },
): string {
  if (status !== 200) return `HTTP ${status}: ${scrub(text)}\n`
  return path.startsWith('/debug') ? json(JSON.parse(text)) : scrub(text)
}

/** At a time: enough to be quick, few enough that no API server minds. */
const atOnce = 4

/** Makes all pieces. Never throws for one of them; `onDone` is told how many are done. */
export async function collectAll(
  pieces: readonly Piece[],
  onDone: (done: number) => void,
): Promise<Entry[]> {
  const entries: Entry[] = []
  const queue = [...pieces]
  const work = async (): Promise<void> => {
    for (let piece = queue.shift(); piece !== undefined; piece = queue.shift()) {
      entries.push(await made(piece))
      onDone(entries.length)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return entries.sort((a, b) => a.path.localeCompare(b.path))
}

async function made({ path, get }: Piece): Promise<Entry> {
  try {
    const text = await get()
    if (text.length <= sysdumpLimits.fileLength) return { path, text }
    return { path, text: `${text.slice(0, sysdumpLimits.fileLength)}\n<cut>\n` }
  } catch (error) {
    return { path: `${path}.error.txt`, text: `${scrub(messageOf(error))}\n` }
  }
}
