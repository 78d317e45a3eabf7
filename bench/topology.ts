// SPDX-License-Identifier: Apache-2.0
// The two labs that alternate: the same client and servers with peers beside them, or with the mesh.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { labDown, labExec, labGet, labUp } from './lab.ts'

const here = import.meta.dirname
const manifests = join(here, 'manifests')
const readyTimeoutMs = 20_000
const pollMs = 100

/** A lab that is up. */
export interface Topology {
  readonly mesh: boolean
  /** Pod addresses by pod name. */
  readonly pods: ReadonlyMap<string, string>
  /** Pod names by uid, to name cgroups. */
  readonly podNames: ReadonlyMap<string, string>
  /** Cluster addresses by service name; empty without the mesh. */
  readonly services: ReadonlyMap<string, string>
}

/** Replaces ${NAME} by its value; an unknown name is a mistake in a template. */
export function render(template: string, values: ReadonlyMap<string, string>): string {
  return template.replaceAll(/\$\{([A-Z0-9_]+)\}/g, (_, name: string) => {
    const value = values.get(name)
    if (value === undefined) throw new Error(`no value for \${${name}}`)
    return value
  })
}

const variable = (pod: string): string => pod.toUpperCase().replaceAll('-', '_')

/** Writes the manifests of one topology below `dir`, ready for `lab up`. */
function renderManifests(dir: string, parts: readonly string[]): string {
  const out = join(dir, `manifests-${parts.join('-')}`)
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  const values = new Map([
    ['DIR', dir],
    ['BENCH', here],
  ])
  for (const part of parts) {
    for (const name of readdirSync(join(manifests, part)).filter((file) =>
      file.endsWith('.yaml'),
    )) {
      writeFileSync(
        join(out, `${part}-${name}`),
        render(readFileSync(join(manifests, part, name), 'utf8'), values),
      )
    }
  }
  return out
}

/** Gives the waiting peer pods their configurations, now that addresses are known. */
function configurePeers(dir: string, pods: ReadonlyMap<string, string>): void {
  const values = new Map([
    ['DIR', dir],
    ...[...pods].map(([name, ip]) => [variable(name), ip] as const),
  ])
  for (const name of readdirSync(join(manifests, 'peers')).filter((file) =>
    file.endsWith('.conf'),
  )) {
    writeFileSync(
      join(dir, name),
      render(readFileSync(join(manifests, 'peers', name), 'utf8'), values),
    )
  }
}

/** Brings a topology up in `dir` and returns when every server and peer answers. */
export async function bringUp(dir: string, mesh: boolean): Promise<Topology> {
  if (existsSync(dir))
    for (const name of readdirSync(dir))
      if (name.endsWith('.conf')) rmSync(join(dir, name))
  mkdirSync(dir, { recursive: true })
  await labUp(renderManifests(dir, ['base', mesh ? 'mesh' : 'peers']), mesh)
  try {
    return await settle(dir, mesh)
  } catch (error) {
    keepLogs(dir, 'up')
    await labDown()
    throw error
  }
}

async function settle(dir: string, mesh: boolean): Promise<Topology> {
  const objects = await labGet('pods')
  const pods = new Map(
    objects.map(({ metadata, status }) => [metadata.name, status?.podIP ?? '']),
  )
  const podNames = new Map(
    objects.map(({ metadata }) => [metadata.uid ?? '', metadata.name]),
  )
  if (!mesh) {
    configurePeers(dir, pods)
    for (const [pod, port] of peerPorts) await untilOpen(pods.get(pod) ?? '', port)
    return { mesh, pods, podNames, services: new Map() }
  }
  const services = new Map(
    (await labGet('services')).map(({ metadata, spec }) => [
      metadata.name,
      spec?.clusterIP ?? '',
    ]),
  )
  return { mesh, pods, podNames, services }
}

const peerPorts: readonly (readonly [string, number])[] = [
  ['nginx-b', 8101],
  ['nginx-a', 8101],
  ['haproxy-b', 8201],
  ['haproxy-a', 8201],
  ['nghttpx-b', 8401],
  ['nghttpx-a', 8401],
]

/** Polls until the client pod can connect. */
async function untilOpen(host: string, port: number): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs
  for (;;) {
    try {
      await labExec('client', ['nc', '-z', '-w', '1', host, String(port)])
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(pollMs)
    }
  }
}

/** Copies the logs of the lab where they outlive it: what to read when a case failed. */
export function keepLogs(dir: string, name: string): void {
  const logs = '/run/pillion-lab/logs'
  if (existsSync(logs)) cpSync(logs, join(dir, `logs-${name}`), { recursive: true })
}
