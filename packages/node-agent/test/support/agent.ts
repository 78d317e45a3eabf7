// SPDX-License-Identifier: Apache-2.0
// A real agent on a cgroup and pin directory of its own, without an operator: it starts from a saved configuration.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Resources } from '@pillion/contract'
import { cgroup2Mount, removePins } from '@pillion/ebpf-l4'
import { Store } from '../../src/store.ts'

const main = join(import.meta.dirname, '../../src/main.ts')

export interface Place {
  readonly dir: string
  readonly cgroupRoot: string
  readonly pinDir: string
  readonly adminSocket: string
}

/** Directories of one test, removed by `cleanUp`. */
export function makePlace(): Place {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-agent-'))
  const tag = `pillion-agent-${process.pid}-${dir.slice(-6)}`
  const cgroupRoot = join(cgroup2Mount(), tag)
  mkdirSync(join(cgroupRoot, 'kubepods'), { recursive: true })
  return {
    dir,
    cgroupRoot,
    pinDir: `/sys/fs/bpf/${tag}`,
    adminSocket: join(dir, 'agent.sock'),
  }
}

export function cleanUp({ dir, cgroupRoot, pinDir }: Place): void {
  try {
    removePins(pinDir)
  } catch {
    // never made
  }
  removeCgroups(cgroupRoot)
  rmSync(dir, { recursive: true })
}

function removeCgroups(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroups(join(path, entry.name))
  }
  rmdirSync(path)
}

/** What a start finds in --state-dir. */
export async function save({ dir }: Place, resources: Resources): Promise<void> {
  const store = new Store(join(dir, 'state'), 0, (error) => {
    throw error as Error
  })
  store.save(resources)
  await store.flush()
}

export class AgentProcess {
  readonly #place: Place
  readonly #process: ChildProcess
  readonly #exit: Promise<number | null>
  output = ''

  /** `wrapper`: a command that runs the agent, setpriv for example. `ownProxy`: `extra` says where the proxy is. */
  constructor(
    place: Place,
    extra: readonly string[] = [],
    wrapper: readonly string[] = [],
    ownProxy = false,
  ) {
    this.#place = place
    const [command = process.execPath, ...args] = [...wrapper, process.execPath]
    this.#process = spawn(command, [
      ...args,
      main,
      ...['--node', 'node-1', '--operator', `unix:${join(place.dir, 'operator.sock')}`],
      ...['--cgroup-root', place.cgroupRoot],
      ...(ownProxy ? [] : ['--proxy-cgroup', join(place.cgroupRoot, 'system/proxy')]),
      ...['--pin-dir', place.pinDir, '--state-dir', join(place.dir, 'state')],
      ...['--admin-socket', place.adminSocket, '--debug-port', '0'],
      ...['--proxy-address', '10.245.0.1,fd00::1', '--proxy-port', '15001'],
      ...extra,
    ])
    this.#process.stdout?.on('data', (chunk) => (this.output += String(chunk)))
    this.#process.stderr?.on('data', (chunk) => (this.output += String(chunk)))
    this.#exit = new Promise((resolve) => this.#process.once('exit', resolve))
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Exit code. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#process.kill(signal)
    return this.#exit
  }

  exited(): Promise<number | null> {
    return this.#exit
  }

  get(path: string): Promise<{ status: number; text: string }> {
    return get(this.#place.adminSocket, path)
  }

  async json<T>(path: string): Promise<T> {
    const { status, text } = await this.get(path)
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`)
    return JSON.parse(text) as T
  }

  /** Waits until /readyz answers 200. */
  async ready(): Promise<void> {
    await until(
      async () => (await this.get('/readyz')).status === 200,
      () => this.output,
    )
  }
}

export function get(
  socketPath: string,
  path: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path, timeout: 5000 }, (res) => {
      let text = ''
      res.setEncoding('utf8')
      res.on('data', (chunk: string) => (text += chunk))
      res.on('end', () => {
        resolve({ status: res.statusCode ?? 0, text })
      })
    })
    req.on('error', reject)
    req.end()
  })
}

/** Polls until `what` is true; throws with `detail` after 10 s. */
export async function until(
  what: () => boolean | Promise<boolean>,
  detail: () => string = () => '',
): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    if (await Promise.resolve(what()).catch(() => false)) return
    if (Date.now() > deadline) throw new Error(`not in time: ${detail()}`)
    await sleep(5)
  }
}
