// SPDX-License-Identifier: Apache-2.0
// One network check, as values that cross the pipe to the node's probe helper.
import type { Container, Probe } from '../types.ts'

export type Check =
  | {
      readonly kind: 'http'
      readonly host: string
      readonly port: number
      readonly path: string
      readonly headers: Readonly<Record<string, string>>
    }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'exec'; readonly command: readonly string[] }

export interface Result {
  readonly ok: boolean
  /** Why not, for people. */
  readonly message: string
}

export interface Request {
  readonly id: number
  readonly check: Check
  readonly timeoutMs: number
}

/** What a readinessProbe asks, at this pod address. */
export function checkOf(probe: Probe, container: Container, address: string): Check {
  if (probe.exec !== undefined) return { kind: 'exec', command: probe.exec.command }
  if (probe.tcpSocket !== undefined) {
    const { port, host = address } = probe.tcpSocket
    return { kind: 'tcp', host, port: portNumber(port, container) }
  }
  const { path = '/', port = 80, host = address, httpHeaders = [] } = probe.httpGet ?? {}
  return {
    kind: 'http',
    host,
    port: portNumber(port, container),
    path,
    headers: Object.fromEntries(httpHeaders.map(({ name, value }) => [name, value])),
  }
}

function portNumber(port: number | string, container: Container): number {
  if (typeof port === 'number') return port
  return container.ports?.find(({ name }) => name === port)?.containerPort ?? Number(port)
}
