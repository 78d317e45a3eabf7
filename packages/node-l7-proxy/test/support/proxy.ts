// SPDX-License-Identifier: Apache-2.0
// The real proxy processes on loopback.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Resource } from '@pillion/contract'
import { startOperator, type TestOperator } from './operator.ts'
import { until } from './wait.ts'

export type TestProxy = {
  readonly port: number
  readonly process: ChildProcess
  /** What it was started with: a successor is started with the same. */
  readonly argv: readonly string[]
  readonly operator: TestOperator
  /** Lines that the processes wrote. */
  readonly log: string[]
  admin(path: string): Promise<{ status: number; body: string }>
  /** Sum of the samples of a metric whose line contains every part. */
  metric(name: string, ...parts: string[]): Promise<number>
  stop(): Promise<void>
}

export async function startProxy(
  resources: readonly Resource[],
  args: readonly string[] = [],
): Promise<TestProxy> {
  const directory = mkdtempSync(join(tmpdir(), 'pillion-proxy-'))
  const operator = await startOperator(join(directory, 'operator.sock'), resources)
  const port = await freePort()
  const adminSocket = join(directory, 'admin.sock')
  const log: string[] = []
  const argv = [
    ...[fileURLToPath(new URL('main.ts', import.meta.url)), '--node', 'node-1'],
    ...['--operator', operator.address, '--listen', '0.0.0.0', '--port', String(port)],
    ...['--admin-socket', adminSocket, '--log-level', 'warn'],
    ...['--handover-socket', join(directory, 'handover.sock'), ...args],
  ]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout
    .setEncoding('utf8')
    .on('data', (text: string) =>
      log.push(...text.split('\n').filter((line) => line !== '')),
    )
  const admin = async (path: string): Promise<{ status: number; body: string }> =>
    askUnix(adminSocket, path)
  const proxy: TestProxy = {
    port,
    process: child,
    argv,
    operator,
    log,
    admin,
    metric: async (name, ...parts) => sum((await admin('/metrics')).body, name, parts),
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
        await exited
      }
      await operator.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
  await until(
    async () => (await admin('/readyz').catch(() => undefined))?.status === 200,
    'readyz',
  ).catch(async (error: unknown) => {
    await proxy.stop()
    throw new Error(`${String(error)}\n${log.join('\n')}`)
  })
  return proxy
}

async function askUnix(
  socketPath: string,
  path: string,
): Promise<{ status: number; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number
    body: string
  }>()
  request({ socketPath, path, agent: false }, (response) => {
    let body = ''
    response.setEncoding('utf8').on('data', (text: string) => (body += text))
    response.on('end', () => {
      resolve({ status: response.statusCode ?? 0, body })
    })
  })
    .on('error', reject)
    .end()
  return promise
}

function sum(text: string, name: string, parts: readonly string[]): number {
  return text
    .split('\n')
    .filter(
      (line) =>
        (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) &&
        parts.every((part) => line.includes(part)),
    )
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
