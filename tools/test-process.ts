// SPDX-License-Identifier: Apache-2.0
// Runs one test file as a process and reads its TAP.
import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { Parser, type Result } from 'tap-parser'
import type { TestFile } from './test-files.ts'

/** What one file came to. */
export interface FileResult {
  readonly path: string
  readonly passed: number
  /** One text an assertion (or one for the file itself), with its diagnostics. */
  readonly failures: readonly string[]
  /** Name and reason of every skipped (or still to do) test. */
  readonly skips: readonly string[]
  readonly durationMs: number
  /** What the file wrote beside TAP: standard error, and lines on standard output that are no TAP. */
  readonly output: string
}

/** More than this a failing test may print, but nobody reads. */
const maxOutputChars = 64_000
/** A file that ignores SIGTERM after its time-out is killed this much later: it gets to clean up namespaces and pins. */
const killAfterMs = 10_000
/** How long after the exit of a file its last output is waited for. */
const afterExitMs = 2000

/** Runs `file` with the Node that runs us. Never rejects: a file that crashes, hangs or says nothing has failed. */
export async function runFile(file: TestFile): Promise<FileResult> {
  const startMs = performance.now()
  const child = spawn(process.execPath, [file.path], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TAP: '1', TAP_TIMEOUT: '0' },
  })
  const collected = collect(child.stdout, child.stderr)
  let timedOut = false
  const timers: NodeJS.Timeout[] = []
  const terminate = (): void => {
    timedOut = true
    child.kill('SIGTERM')
    timers.push(setTimeout(() => child.kill('SIGKILL'), killAfterMs))
  }
  timers.push(setTimeout(terminate, file.timeoutMs))
  const ending = await new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => {
      const text = code === 0 ? '' : `exit ${signal ?? code}`
      // Not 'close' alone: a process that the test left behind may hold our pipe open for ever.
      child.once('close', () => resolve(text))
      timers.push(setTimeout(() => resolve(text), afterExitMs))
    })
  })
  timers.forEach(clearTimeout)
  const tap = await collected.finish()
  const failures = [...tap.failures]
  if (timedOut) failures.push(`timed out after ${file.timeoutMs / 1000} s`)
  else if (ending !== '' && failures.length === 0) failures.push(ending)
  else if (tap.passed + failures.length + tap.skips.length === 0) {
    failures.push('it asserted nothing')
  }
  return { ...tap, failures, path: file.path, durationMs: performance.now() - startMs }
}

interface Collected {
  passed: number
  failures: string[]
  skips: string[]
  output: string
}

/** Parses `stdout` as TAP while it arrives and keeps what else was said. */
function collect(stdout: Readable, stderr: Readable) {
  const got: Collected = {
    passed: 0,
    failures: [],
    skips: [],
    output: '',
  }
  const say = (text: string): void => {
    if (got.output.length < maxOutputChars) got.output += text
  }
  const parser = new Parser()
  const ended = new Promise<void>((resolve) => parser.once('complete', () => resolve()))
  // The line itself and not plan.skipAll: the parser reports an empty file as one that skipped everything.
  parser.on('line', (line: string) => {
    const skipAll = /^1\.\.0\s*#\s*skip\S*\s*(.*)/i.exec(line)
    if (skipAll !== null) got.skips.push(skipAll[1] || 'the whole file')
  })
  watch(parser, got, '')
  parser.on('extra', say)
  stdout.pipe(parser)
  stderr.setEncoding('utf8').on('data', say)
  return {
    finish: async (): Promise<Collected> => {
      stdout.unpipe(parser)
      stdout.destroy()
      stderr.destroy()
      parser.end()
      await ended
      return got
    },
  }
}

/** Counts the assertions of `parser` and of its subtests; a subtest's own summary line is not counted. */
function watch(parser: Parser, got: Collected, prefix: string): void {
  let failuresBefore: number | undefined
  parser.on('child', (child) => {
    failuresBefore = got.failures.length
    watch(child, got, `${prefix}${child.name} > `)
  })
  parser.on('assert', (result) => {
    const before = failuresBefore
    failuresBefore = undefined
    const name = prefix + (result.name === '' ? `assertion ${result.id}` : result.name)
    if (result.skip !== false || result.todo !== false) {
      const reason = result.skip === false ? result.todo : result.skip
      got.skips.push(
        typeof reason === 'string' && reason !== '' ? `${name}: ${reason}` : name,
      )
    } else if (before !== undefined) {
      // Its assertions are counted already; only a subtest that threw or timed out fails without a failed assertion.
      if (!result.ok && got.failures.length === before)
        got.failures.push(explain(name, result))
    } else if (result.ok) got.passed++
    else got.failures.push(explain(name, result))
  })
}

function explain(name: string, result: Result): string {
  const diag =
    result.diag === null || result.diag === undefined
      ? ''
      : JSON.stringify(result.diag, null, 2)
  return diag === '' ? name : `${name}\n${diag.replaceAll('\\n', '\n')}`
}
