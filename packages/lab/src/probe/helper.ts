// SPDX-License-Identifier: Apache-2.0
// The part of the kubelet that knocks on pods: lives in a node's network namespace, reads one request a line on stdin,
// answers one line on stdout. One small process a node instead of one nsenter a probe.
import { request } from 'node:http'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Check, Request, Result } from './check.ts'

type Network = Exclude<Check, { kind: 'exec' }>

function http(
  check: Extract<Check, { kind: 'http' }>,
  timeoutMs: number,
): Promise<Result> {
  return new Promise((resolve) => {
    const done = (ok: boolean, message: string): void => resolve({ ok, message })
    const { host, port, path, headers } = check
    const req = request({ host, port, path, headers, agent: false }, (res) => {
      const status = res.statusCode ?? 0
      res.resume()
      // As the kubelet: 200 up to 399.
      done(status >= 200 && status < 400, `HTTP ${status} from ${host}:${port}${path}`)
    })
    const timer = setTimeout(
      () => req.destroy(new Error(`no answer in ${timeoutMs} ms`)),
      timeoutMs,
    )
    req.on('close', () => clearTimeout(timer))
    req.on('error', (error) => done(false, `${host}:${port}: ${error.message}`))
    req.end()
  })
}

function tcp(check: Extract<Check, { kind: 'tcp' }>, timeoutMs: number): Promise<Result> {
  return new Promise((resolve) => {
    const { host, port } = check
    const socket = connect({ host, port })
    const timer = setTimeout(
      () => socket.destroy(new Error(`no connection in ${timeoutMs} ms`)),
      timeoutMs,
    )
    socket.on('close', () => clearTimeout(timer))
    socket.on('connect', () => {
      resolve({ ok: true, message: '' })
      socket.destroy()
    })
    socket.on('error', (error) =>
      resolve({ ok: false, message: `${host}:${port}: ${error.message}` }),
    )
  })
}

async function answer(line: string): Promise<void> {
  const { id, check, timeoutMs } = JSON.parse(line) as Request & { check: Network }
  const result =
    check.kind === 'http' ? await http(check, timeoutMs) : await tcp(check, timeoutMs)
  process.stdout.write(JSON.stringify({ id, ...result }) + '\n')
}

createInterface({ input: process.stdin })
  .on('line', (line) => void answer(line))
  .on('close', () => process.exit(0))
