// SPDX-License-Identifier: Apache-2.0
// The clients: command line out, figures in.
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { percentile } from './stats.ts'

const connections = 16
const grpcConnections = 4
const grpcStreams = 8

/** What a client does. URLs hold addresses, never names: nobody wants to measure DNS. */
export type Load =
  /** HTTP/1.1, closed loop: as fast as it goes. */
  | { readonly kind: 'http'; readonly url: string }
  /** HTTP/1.1, open loop at a rate: what latency a request has that arrives when it wants. */
  | { readonly kind: 'rate'; readonly url: string; readonly requestsPerSecond: number }
  /** Connect, one byte each way, close. */
  | { readonly kind: 'connect'; readonly host: string; readonly port: number }
  /** gRPC unary over HTTP/2 cleartext. */
  | { readonly kind: 'grpc'; readonly url: string }

/** What came of it. */
export interface Figures {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly p50Us: number
  readonly p99Us: number
  /** Requests without a good answer; a row with any is not a measurement. */
  readonly errors: number
}

/** Files that the clients need; `dir` is the run's own directory. */
export interface ClientFiles {
  readonly dir: string
}

const here = import.meta.dirname
const requestLog = (files: ClientFiles): string => join(files.dir, 'h2load.log')

/** Command line of the client of a load. */
export function command(load: Load, seconds: number, files: ClientFiles): string[] {
  switch (load.kind) {
    case 'http':
      return [
        'wrk',
        '-t1',
        `-c${connections}`,
        `-d${seconds}`,
        '-s',
        join(here, 'load/report.lua'),
        load.url,
      ]
    case 'connect':
      return [
        join(here, 'load/.output/connect'),
        'drive',
        load.host,
        String(load.port),
        String(seconds),
        String(connections),
      ]
    case 'rate': {
      const rate = Math.max(1, Math.round(load.requestsPerSecond / connections))
      return [
        'h2load',
        '--h1',
        '-t1',
        `-c${connections}`,
        `--rps=${rate}`,
        `-D${seconds}`,
        `--log-file=${requestLog(files)}`,
        load.url,
      ]
    }
    case 'grpc': {
      const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers']
      const size = ['-t1', `-c${grpcConnections}`, `-m${grpcStreams}`, `-D${seconds}`]
      return [
        'h2load',
        ...size,
        `--log-file=${requestLog(files)}`,
        '-d',
        join(here, 'load/message.bin'),
        ...headers,
        load.url,
      ]
    }
  }
}

/** Before a client runs: h2load appends to its log. */
export function reset(files: ClientFiles): void {
  rmSync(requestLog(files), { force: true })
}

/** Figures from what the client printed (and, for h2load, logged). */
export function figures(
  load: Load,
  seconds: number,
  output: string,
  files: ClientFiles,
): Figures {
  if (load.kind === 'http' || load.kind === 'connect') return parseReport(output)
  return parseRequestLog(readFileSync(requestLog(files), 'utf8'), seconds)
}

/** The line of JSON that report.lua and connect.c print. */
export function parseReport(output: string): Figures {
  const line = output.split('\n').find((text) => text.startsWith('{"requests"'))
  if (line === undefined)
    throw new Error(`the client printed no figures: ${output.slice(0, 500)}`)
  const report = JSON.parse(line) as Record<
    'requests' | 'seconds' | 'p50Us' | 'p99Us' | 'errors',
    number
  >
  const { requests, seconds, p50Us, p99Us, errors } = report
  return { requests, requestsPerSecond: requests / seconds, p50Us, p99Us, errors }
}

/** h2load's log: start (µs), status, duration (µs), one line a request. A status that is not 2xx is an error. */
export function parseRequestLog(log: string, seconds: number): Figures {
  const durations: number[] = []
  let errors = 0
  for (const line of log.split('\n')) {
    const [, status = '', duration] = line.split('\t')
    if (duration === undefined) continue
    if (/^2\d\d$/.test(status)) durations.push(Number(duration))
    else errors++
  }
  return {
    requests: durations.length,
    requestsPerSecond: durations.length / seconds,
    p50Us: percentile(durations, 0.5) ?? 0,
    p99Us: percentile(durations, 0.99) ?? 0,
    errors,
  }
}
