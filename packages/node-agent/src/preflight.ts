// SPDX-License-Identifier: Apache-2.0
// `pillion-agent --preflight`: what the node has of what the mesh needs, before or beside an agent that runs.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  collectFacts,
  preflight,
  type Preflight,
  type PreflightLine,
  type PreflightOptions,
} from '@pillion/ebpf-l4'
import { messageOf } from './errors.ts'

/** The verifier needs about half a second for all programs; on a busy or an emulated machine some more. */
const timeoutMs = 60_000

/** Blocks while the verifier works. */
export function runPreflight(options: PreflightOptions): Preflight {
  return preflight(collectFacts(options))
}

/** "✗ JIT compiler: off" and below it what that costs; nothing of what passes with `onlyFailing`. */
export function preflightText({ lines, fit }: Preflight, onlyFailing = false): string {
  const shown = onlyFailing ? lines.filter(({ ok }) => !ok) : lines
  const verdict = fit
    ? 'the mesh runs on this node'
    : 'the mesh does not run on this node'
  return [...shown.map(lineText), verdict].join('\n')
}

function lineText({ what, ok, optional, found, cost }: PreflightLine): string {
  const mark = ok ? '✓' : optional === true ? '!' : '✗'
  return `${mark} ${what}: ${found}${cost === '' ? '' : `\n    ${cost}`}`
}

/**
 * The same in a process of its own, so that an agent that serves a node goes on meanwhile. One at a time: who asks while one runs
 * gets its answer.
 */
export class PreflightProcess {
  readonly #options: PreflightOptions
  #running: Promise<unknown> | undefined

  constructor(options: PreflightOptions) {
    this.#options = options
  }

  /** What `runPreflight` returns. Rejects when the process cannot be started or does not end in a minute. */
  ask(): Promise<unknown> {
    this.#running ??= this.#ask().finally(() => (this.#running = undefined))
    return this.#running
  }

  async #ask(): Promise<unknown> {
    const { objectDir, pinDir, cgroupRoot } = this.#options
    const main = join(import.meta.dirname, 'main.ts')
    const where = [`--object-dir=${objectDir}`, `--pin-dir=${pinDir}`]
    const argv = [main, '--preflight=json', ...where, `--cgroup-root=${cgroupRoot}`]
    const flags = process.execArgv
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, ...argv], {
      timeout: timeoutMs,
    }).catch((error: unknown) => {
      // Exit code 1 says that the node is not fit, which is an answer.
      const { stdout = '' } = error as { stdout?: string }
      if (stdout !== '') return { stdout }
      throw new Error(`the preflight did not run: ${messageOf(error)}`)
    })
    return JSON.parse(stdout) as unknown
  }
}
