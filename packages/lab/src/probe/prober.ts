// SPDX-License-Identifier: Apache-2.0
// Runs checks: network checks through the node's helper process, exec checks in the pod itself.
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import type { NodeInfo } from '../net/addresses.ts'
import { checkout, nodePaths, systemCgroup } from '../paths.ts'
import { makeCgroup } from '../process/cgroup.ts'
import { launchArgv, type Launch } from '../process/launch.ts'
import type { Check, Result } from './check.ts'

const helper = join(checkout, 'packages/lab/src/probe/helper.ts')

/** The probe helper of one node; started at the first check, started again when it died. */
export class NodeProber {
  readonly #node: NodeInfo
  readonly #pending = new Map<number, (result: Result) => void>()
  #child: ChildProcess | undefined
  #next = 1

  constructor(node: NodeInfo) {
    this.#node = node
  }

  check(check: Exclude<Check, { kind: 'exec' }>, timeoutMs: number): Promise<Result> {
    const id = this.#next++
    const child = (this.#child ??= this.#start())
    return new Promise((resolve) => {
      // The helper keeps the time-out; this one is for a helper that hangs.
      const timer = setTimeout(
        () => settle(failed('the probe helper does not answer')),
        timeoutMs + 2000,
      )
      const settle = (result: Result): void => {
        clearTimeout(timer)
        this.#pending.delete(id)
        resolve(result)
      }
      this.#pending.set(id, settle)
      child.stdin?.write(JSON.stringify({ id, check, timeoutMs }) + '\n')
    })
  }

  #start(): ChildProcess {
    const cgroup = systemCgroup(this.#node.name, 'probe')
    makeCgroup(cgroup)
    const { command, args } = launchArgv({
      cgroup,
      netns: this.#node.netns,
      env: {},
      argv: [process.execPath, helper],
    })
    const log = openSync(nodePaths(this.#node.name).probeLog, 'a', 0o640)
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', log], env: {} })
    closeSync(log)
    child.stdin?.on('error', () => {})
    child.once('error', () => this.#gone(child))
    child.once('exit', () => this.#gone(child))
    const output = child.stdout
    if (output === null) return child
    createInterface({ input: output }).on('line', (line) => {
      const { id, ok, message } = JSON.parse(line) as Result & { id: number }
      this.#pending.get(id)?.({ ok, message })
    })
    return child
  }

  #gone(child: ChildProcess): void {
    if (this.#child !== child) return
    this.#child = undefined
    for (const settle of [...this.#pending.values()])
      settle(failed('the probe helper died'))
  }

  close(): void {
    this.#child?.stdin?.end()
  }
}

function failed(message: string): Result {
  return { ok: false, message }
}

/** Runs a command in the pod: exit code 0 is ready. */
export function execCheck(launch: Launch, timeoutMs: number): Promise<Result> {
  return new Promise((resolve) => {
    const { command, args } = launchArgv(launch)
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: launch.env,
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      if (said.length < 1000) said += chunk.toString()
    })
    child.on('error', (error) => resolve(failed(messageOf(error))))
    child.on('close', (code, signal) => {
      const how = signal === null ? `exit code ${code}` : `no end in ${timeoutMs} ms`
      resolve({
        ok: code === 0,
        message: `${launch.argv[0] ?? ''}: ${how} ${said.trim()}`.trim(),
      })
    })
  })
}
