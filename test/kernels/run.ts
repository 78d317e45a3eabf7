// SPDX-License-Identifier: Apache-2.0
// make test-kernels: boots each kernel, and writes docs/kernel-support.md when all were tried. `run.ts [NAME…]`; TAP on stdout.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isGood, kernels, type GuestReport, type Kernel, type Result } from './kernels.ts'
import { boot } from './machine.ts'
import { unpackKernel } from './packages.ts'
import { intoPage, supportTable } from './support-table.ts'

const repository = join(import.meta.dirname, '../..')
const cache = join(repository, '.tools/kernels')
const page = join(repository, 'docs/kernel-support.md')
/** From power to the end; a kernel that works needs one to two minutes of two free cores. */
const timeoutMs = 600_000
const late = `not done in ${timeoutMs / 1000} s`
/** Node sometimes dies of the emulation at its start (a check of V8, SIGSEGV), in any kernel and before it did anything. */
const maxTries = 3

async function main(names: readonly string[]): Promise<void> {
  if (process.arch !== 'x64') throw new Error('only on x86_64: the kernels are of amd64')
  const unknown = names.filter((name) => !kernels.some((each) => each.name === name))
  if (unknown.length > 0) {
    const known = kernels.map(({ name }) => name).join(', ')
    throw new Error(`no kernel ${unknown.join(', ')}; there are ${known}`)
  }
  const chosen = kernels.filter(({ name }) => names.length === 0 || names.includes(name))
  const results: Result[] = []
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => interrupted.abort())
  }
  for (const kernel of chosen) {
    const result = await tryKernel(kernel, interrupted.signal)
    interrupted.signal.throwIfAborted()
    tell(result, results.push(result))
  }
  console.log(`1..${results.length}`)
  // A machine that died says nothing about its kernel.
  if (names.length === 0 && results.every(({ report }) => report !== undefined)) {
    writeFileSync(page, intoPage(readFileSync(page, 'utf8'), supportTable(results)))
    console.log(`# docs/kernel-support.md is written`)
  }
  if (!results.every(isGood)) process.exitCode = 1
}

async function tryKernel(kernel: Kernel, signal: AbortSignal): Promise<Result> {
  const started = performance.now()
  const seconds = (): number => Math.round((performance.now() - started) / 1000)
  try {
    const unpacked = unpackKernel(kernel, cache)
    const guest = join(import.meta.dirname, 'guest.sh')
    const command = ['/bin/sh', guest, process.execPath]
    let died = ''
    for (let tries = 1; tries <= maxTries && died !== late; tries++) {
      const leftMs = timeoutMs - (performance.now() - started)
      const run = await boot(unpacked, command, leftMs, signal)
      const line = run.said.split('\n').find((each) => each.startsWith('{'))
      if (line !== undefined) {
        const report = JSON.parse(line) as GuestReport
        return { kernel, report, seconds: seconds() }
      }
      console.log(run.console.replace(/^/gm, '# '))
      died = run.timedOut ? late : `the machine ended early, ${tries} times`
    }
    return { kernel, error: died, seconds: seconds() }
  } catch (error) {
    return { kernel, error: (error as Error).message, seconds: seconds() }
  }
}

function tell(result: Result, number: number): void {
  const { kernel, report, error, seconds } = result
  const release = report === undefined ? '' : ` (${report.release})`
  const verdict = isGood(result) ? 'ok' : 'not ok'
  console.log(`${verdict} ${number} - kernel ${kernel.name}${release} # time=${seconds}s`)
  if (error !== undefined) console.log(`# ${error}`)
  if (report === undefined) return
  const refused = report.programs.filter((each) => each.refused !== undefined)
  const loaded = report.programs.length - refused.length
  console.log(`#   boots in ${(report.bootMs / 1000).toFixed(1)} s`)
  console.log(`#   loads ${loaded} of ${report.programs.length} programs`)
  for (const each of refused) console.log(`#   ✗ ${each.program}: ${each.refused}`)
  for (const each of report.outcomes) {
    const why = each.error === undefined ? '' : `: ${each.error}`
    console.log(`#   ${why === '' ? '✓' : '✗'} ${each.name} (${each.ms} ms)${why}`)
  }
  for (const line of report.failing) console.log(`#   preflight: ${line}`)
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(`test-kernels: ${(error as Error).message}`)
  process.exitCode = 2
})
