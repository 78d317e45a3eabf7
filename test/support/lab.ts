// SPDX-License-Identifier: Apache-2.0
// The lab as a newcomer uses it: bin/pillion, nothing else.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const repository = join(import.meta.dirname, '../..')

export interface Result {
  readonly code: number | null
  readonly out: string
  readonly err: string
  readonly ms: number
}

/** Runs `pillion …`; never throws for an exit code. */
export function pillion(args: string[], timeoutMs = 120_000): Promise<Result> {
  return run(join(repository, 'bin/pillion'), args, timeoutMs)
}

export function run(
  command: string,
  args: string[],
  timeoutMs = 60_000,
): Promise<Result> {
  const started = performance.now()
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (data) => (out += data))
  child.stderr.on('data', (data) => (err += data))
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  return new Promise((resolve) =>
    child.on('close', (code) => {
      clearTimeout(timer)
      const ms = performance.now() - started
      resolve({ code, out: out.trim(), err: err.trim(), ms })
    }),
  )
}

/** Like `pillion`, but an exit code other than 0 is an error that says what was printed. */
export async function must(args: string[], timeoutMs?: number): Promise<string> {
  const result = await pillion(args, timeoutMs)
  if (result.code !== 0) {
    throw new Error(
      `pillion ${args.join(' ')}: ${result.code}\n${result.out}\n${result.err}`,
    )
  }
  return result.out
}

/** Runs a command in a pod of namespace e2e. */
export function exec(pod: string, ...command: string[]): Promise<Result> {
  return pillion(['lab', 'exec', '-n', 'e2e', pod, '--', ...command], 60_000)
}

/** Runs a shell script in a pod of namespace e2e. */
export function shell(pod: string, script: string): Promise<Result> {
  return exec(pod, 'sh', '-c', script)
}

/** Starts a command in a pod and leaves it running. */
export function start(pod: string, ...command: string[]): ChildProcess {
  return spawn(
    join(repository, 'bin/pillion'),
    ['lab', 'exec', '-n', 'e2e', pod, '--', ...command],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  )
}

const scratch = mkdtempSync(join(tmpdir(), 'pillion-e2e-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))

/** Applies or deletes the objects of a YAML text; `name` is the file's name in errors. */
export function withYaml(
  verb: 'apply' | 'delete',
  yaml: string,
  name = 'objects.yaml',
): Promise<Result> {
  const file = join(scratch, name)
  writeFileSync(file, yaml)
  return pillion(['lab', verb, '-f', file])
}

/** Polls until `check` is true; the message says what was waited for. */
export async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
): Promise<number> {
  const started = performance.now()
  while (performance.now() - started < deadlineMs) {
    if (await check()) return performance.now() - started
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`not within ${deadlineMs} ms: ${what}`)
}

export const manifests = join(repository, 'test/e2e/manifests')

/** JSON of a debug endpoint of a node's agent. */
export async function debug(node: string, path: string): Promise<unknown> {
  const { out, err, code } = await pillion([
    'lab', 'exec', `node/${node}`, '--',
    'curl', '-sf', `http://127.0.0.1:15099${path}`,
  ]) // prettier-ignore
  if (code !== 0) throw new Error(`${node}${path}: ${code} ${err}`)
  return JSON.parse(out) as unknown
}

export interface Load {
  ok: number
  errors: Record<string, number>
  maxGapMs: number
}

/** Requests from a pod until `stop`; `keep` holds connections open, `new` makes one a request. */
export async function load(
  pod: string,
  url: string,
  mode: 'keep' | 'new',
  concurrency = 4,
): Promise<{ stop(): Promise<Load> }> {
  const child = start(
    pod,
    'node',
    `${manifests}/app/load.ts`,
    url,
    String(concurrency),
    mode,
  )
  let out = ''
  child.stdout?.on('data', (data) => (out += data))
  child.stderr?.on('data', (data) => process.stderr.write(data as Buffer))
  await until(`load on ${url}`, () => out.includes('ready'))
  return {
    stop: async () => {
      child.stdin?.write('end\n')
      await new Promise((resolve) => child.on('close', resolve))
      return JSON.parse(out.split('\n')[1] ?? '{}') as Load
    },
  }
}

/** Processes whose command line matches. */
export async function pidsOf(pattern: string): Promise<number[]> {
  const { out } = await run('pgrep', ['-f', pattern])
  return out.split('\n').filter(Boolean).map(Number)
}

/** Ends every process whose command line matches, as kill -9 does; returns how many. */
export async function kill9(pattern: string): Promise<number> {
  const pids = await pidsOf(pattern)
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  return pids.length
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))
