// SPDX-License-Identifier: Apache-2.0
// Starts the supervisor and follows it until the lab is up. Runs in the caller's process.
import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoOf, LabError } from './errors.ts'
import { manifestFiles } from './manifest/load.ts'
import { checkout, labCgroup, paths, runDir } from './paths.ts'
import { makeCgroup } from './process/cgroup.ts'
import { launchArgv } from './process/launch.ts'
import { tail } from './process/log.ts'
import type { SupervisorOptions } from './options.ts'
import type { Progress } from './supervisor/lab.ts'
import { remains, teardown } from './teardown.ts'
import { pollJson } from './unix-http.ts'

const pollMs = 100
/** The supervisor itself must answer within this time. */
const supervisorStartMs = 10_000

export interface UpOptions extends SupervisorOptions {
  /** Leave a lab that does not come up as it is, to look at it. */
  readonly keep: boolean
  readonly onProgress: (progress: Progress) => void
  /** Aborts: everything is taken down. */
  readonly signal: AbortSignal
}

/** Refuses unless the caller is root: namespaces, cgroups and BPF need it. */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return
  throw new LabError(
    'not-root',
    'the lab makes network namespaces and loads BPF programs: run it as root',
  )
}

/** Brings a lab up. Throws a LabError with the reasons; nothing is left behind then, unless `keep`. */
export async function labUp(options: UpOptions): Promise<void> {
  requireRoot()
  checkPaths(options) // a wrong directory is told before anything is made
  await claim()
  try {
    startSupervisor(options)
    await follow(options)
  } catch (error) {
    if (!options.keep || options.signal.aborted) await teardown()
    throw error
  }
}

function checkPaths(options: SupervisorOptions): void {
  const { dir, kubeconfig, filters = dir, filterSecrets = dir } = options
  if (kubeconfig === undefined) manifestFiles(dir)
  else if (!existsSync(kubeconfig))
    throw new LabError('not-found', `${kubeconfig}: no such file`)
  if (!isDirectory(dir))
    throw new LabError('usage', `${dir} is no directory; a lab is made of a directory`)
  for (const path of [filters, filterSecrets])
    if (!isDirectory(path)) throw new LabError('not-found', `${path}: no such directory`)
}

const isDirectory = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** Making the run directory is the lock: two labs never run at once. */
async function claim(): Promise<void> {
  if (remains().length > 0) await refuse()
  try {
    mkdirSync(runDir, { mode: 0o711 })
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') await refuse()
    throw error
  }
  mkdirSync(paths.logs, { mode: 0o750 })
}

async function refuse(): Promise<never> {
  const status = (await pollJson(paths.socket, '/status')) as { dir?: string } | undefined
  if (status === undefined) {
    throw new LabError(
      'already-running',
      `a lab was left behind (${remains().slice(0, 3).join(', ')}, …); run: pillion lab down`,
    )
  }
  throw new LabError(
    'already-running',
    `a lab of ${status.dir ?? ''} is running; run: pillion lab down`,
  )
}

function startSupervisor(options: SupervisorOptions): void {
  const cgroup = join(labCgroup(), 'supervisor')
  makeCgroup(cgroup)
  const env = Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  )
  const flags = [
    ...['--dir', resolve(options.dir), '--nodes', String(options.nodes)],
    ...(options.kubeconfig === undefined ? [] : ['--kubeconfig', options.kubeconfig]),
    ...(options.filters === undefined ? [] : ['--filters', options.filters]),
    ...(options.filterSecrets === undefined
      ? []
      : ['--filter-secrets', options.filterSecrets]),
    ...[
      '--mesh',
      options.mesh ? 'on' : 'off',
      '--timeout',
      String(options.timeoutMs / 1000),
    ],
  ]
  const main = join(checkout, 'packages/lab/src/main.ts')
  const { command, args } = launchArgv({
    cgroup,
    env,
    argv: [process.execPath, main, ...flags],
  })
  const log = openSync(paths.supervisorLog, 'a', 0o640)
  const child = spawn(command, args, { detached: true, stdio: ['ignore', log, log], env })
  closeSync(log)
  child.unref()
  child.on('error', () => {}) // follow() reports a supervisor that does not answer
  writeFileSync(paths.state, JSON.stringify({ dir: options.dir, pid: child.pid }) + '\n')
}

async function follow(options: UpOptions): Promise<void> {
  const deadline = Date.now() + supervisorStartMs
  let seen = false
  for (;;) {
    if (options.signal.aborted) throw new LabError('host', 'interrupted')
    const status = (await pollJson(paths.socket, '/status')) as
      { progress: Progress } | undefined
    if (status === undefined && (seen || Date.now() > deadline)) {
      const log = existsSync(paths.supervisorLog) ? tail(paths.supervisorLog, 10) : []
      throw new LabError('host', ['the supervisor died:', ...log].join('\n  '))
    }
    if (status !== undefined) {
      seen = true
      options.onProgress(status.progress)
      const { phase, message, reasons, code = 'host' } = status.progress
      if (phase === 'up') return
      if (phase === 'failed') throw new LabError(code, [message, ...reasons].join('\n  '))
    }
    await sleep(pollMs)
  }
}
