// SPDX-License-Identifier: Apache-2.0
// One topology of one round: up, every case, down.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mapBytes, meanRunTimeNs } from './bpf-stats.ts'
import { cases, type Case } from './cases.ts'
import { cpuBetween, cpuTimes, memoryBytes } from './cpu.ts'
import { labApply, labDown, labExec, labGet } from './lab.ts'
import { command, figures, reset, type Load } from './load.ts'
import type { Extras, Sample } from './targets.ts'
import { bringUp, keepLogs, type Topology } from './topology.ts'

export interface RoundOptions {
  readonly dir: string
  readonly mesh: boolean
  readonly seconds: number
  /** Case ids to measure; empty for all. */
  readonly only: readonly string[]
  readonly say: (line: string) => void
  /** Called for a case that could not be measured. */
  readonly failed: (id: string, reason: string) => void
}

export interface RoundResult {
  readonly samples: ReadonlyMap<string, Sample>
  /** Memory by group, bytes. */
  readonly memory: ReadonlyMap<string, number>
  readonly extras: Extras
}

const clientGraceMs = 20_000
const podsForMemory = 30
const scaleTimeoutMs = 60_000

/** Runs one topology. With `extras` it also measures, once, what is no case; that takes some seconds more. */
export async function runTopology(
  options: RoundOptions,
  extras: boolean,
): Promise<RoundResult> {
  const topology = await bringUp(options.dir, options.mesh)
  try {
    const samples = new Map<string, Sample>()
    for (const one of cases) {
      if (one.mesh !== options.mesh) continue
      if (options.only.length > 0 && !options.only.includes(one.id)) continue
      try {
        samples.set(one.id, await measure(one, topology, options))
      } catch (error) {
        keepLogs(options.dir, one.id)
        options.failed(one.id, error instanceof Error ? error.message : String(error))
      }
    }
    const memory = nameGroups(memoryBytes(), topology)
    return {
      samples,
      memory,
      extras: extras && options.mesh ? await measureExtras(topology, options) : {},
    }
  } finally {
    await labDown()
  }
}

const client = (argv: readonly string[], seconds: number): Promise<string> =>
  labExec('client', argv, seconds * 1000 + clientGraceMs)

async function measure(
  one: Case,
  topology: Topology,
  options: RoundOptions,
): Promise<Sample> {
  const load = one.load(topology)
  await verify(load)
  // Fills pools and compiles what is hot; half a second is thousands of requests.
  await client(command(load, Math.min(1, options.seconds), options), 1)
  reset(options)
  const before = cpuTimes()
  const output = await client(command(load, options.seconds, options), options.seconds)
  const used = cpuBetween(before, cpuTimes())
  const got = figures(load, options.seconds, output, options)
  if (got.requests === 0) throw new Error(`no request succeeded, ${got.errors} failed`)
  const groupsUs: Record<string, number> = {}
  let cpuUs = 0
  for (const [name, us] of nameGroups(used, topology)) {
    groupsUs[name] = us / got.requests
    if (name !== 'machine') cpuUs += us / got.requests
  }
  options.say(
    `  ${one.id.padEnd(20)} ${Math.round(got.requestsPerSecond).toString().padStart(8)} /s  p50 ${got.p50Us} µs  p99 ${got.p99Us} µs  CPU ${cpuUs.toFixed(1)} µs` +
      (got.errors > 0 ? `  ${got.errors} errors` : ''),
  )
  return { ...got, cpuUs, groupsUs }
}

/** One request by hand: nobody wants the throughput of an error page. */
async function verify(load: Load): Promise<void> {
  if (load.kind === 'connect') return
  if (load.kind === 'grpc') {
    const message = join(import.meta.dirname, 'load/message.bin')
    const headers = [
      '-H',
      'content-type: application/grpc',
      '-H',
      'te: trailers',
      '--data-binary',
      `@${message}`,
    ]
    const said = await client(
      [
        'curl',
        '-sS',
        '--http2-prior-knowledge',
        '-m',
        '5',
        '-D',
        '-',
        '-o',
        '/dev/null',
        ...headers,
        load.url,
      ],
      5,
    )
    if (!/^grpc-status: 0/im.test(said))
      throw new Error(`not a gRPC answer: ${said.trim()}`)
    return
  }
  await client(['curl', '-sSf', '-m', '5', '-o', '/dev/null', load.url], 5)
}

/** "pod/<uid>" by the pod's name; pods that are not ours (DNS) become one group. */
function nameGroups(
  groups: ReadonlyMap<string, number>,
  topology: Topology,
): Map<string, number> {
  const named = new Map<string, number>()
  for (const [group, value] of groups) {
    const uid = /^pod\/(.*)$/.exec(group)?.[1]
    const name = uid === undefined ? group : (topology.podNames.get(uid) ?? 'other pods')
    named.set(name, value + (named.get(name) ?? 0))
  }
  return named
}

async function measureExtras(topology: Topology, options: RoundOptions): Promise<Extras> {
  const found: { connectHookNs?: number; nodeMemoryBytes?: number } = {}
  try {
    const load = cases.find(({ id }) => id === 'connect-gear0')?.load(topology)
    if (load !== undefined) {
      const ns = await meanRunTimeNs(/connect4/, () =>
        client(command(load, 1, options), 1),
      )
      if (ns !== undefined) found.connectHookNs = ns
    }
    found.nodeMemoryBytes = await memoryWithPods(options)
  } catch (error) {
    options.failed('extras', error instanceof Error ? error.message : String(error))
  }
  return found
}

/** Memory of node-1's agent and proxy, and half of the maps (there are two nodes), with 30 pods on it. */
async function memoryWithPods(options: RoundOptions): Promise<number> {
  const here = await labGet('pods')
  const missing =
    podsForMemory - here.filter(({ spec }) => spec?.nodeName === 'node-1').length
  const template = readFileSync(join(import.meta.dirname, 'manifests/idle.yaml'), 'utf8')
  const file = join(options.dir, 'idle.yaml')
  writeFileSync(file, template.replace('${REPLICAS}', String(missing)))
  await labApply(file)
  const deadline = Date.now() + scaleTimeoutMs
  const ready = async (): Promise<number> =>
    (await labGet('pods')).filter(
      ({ spec, status }) =>
        spec?.nodeName === 'node-1' &&
        status?.conditions?.some(
          ({ type, status }) => type === 'Ready' && status === 'True',
        ),
    ).length
  while ((await ready()) < podsForMemory) {
    if (Date.now() > deadline)
      throw new Error(`${podsForMemory} pods were not ready in time`)
    await sleep(500)
  }
  const memory = memoryBytes()
  return (
    (memory.get('node-1/agent') ?? 0) + (memory.get('node-1/proxy') ?? 0) + mapBytes() / 2
  )
}
