// SPDX-License-Identifier: Apache-2.0
// Backends that answer by the plan that the path ends with: "/name/hold,ok" holds the first request of that path, wherever it
// goes, and answers the second.
import http2 from 'node:http2'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { type Backend, listen } from './http.ts'

/** One request as it came. */
export type Arrival = {
  readonly port: number
  readonly headers: IncomingHttpHeaders
  readonly atMs: number
  /** undefined: it has not come to its end. */
  body: Buffer | undefined
  /** HTTP/2: code of the reset; HTTP/1.1: -1. */
  cancelled: number | undefined
  /** What was held is answered with 200 or OK. */
  release(): void
}

export type Planned = {
  readonly web: readonly Backend[]
  readonly calls: readonly Backend[]
  /** By path. */
  arrivals(path: string): Arrival[]
  close(): Promise<void>
}

/**
 * Steps of a plan, the last one for all that follow. `ok`, a status of HTTP, or a number of gRPC ("14:300": with a pushback);
 * `hold`: no answer; `ok@80`: after 80 ms; `head`: Response-Headers and no more; `reset`. Bodies name the port.
 */
export async function startPlanned(count: number): Promise<Planned> {
  const seen = new Map<string, Arrival[]>()
  const arrive = (path: string, arrival: Arrival): string => {
    const before = seen.get(path) ?? []
    seen.set(path, before)
    before.push(arrival)
    const steps = (path.split('/').at(-1) ?? 'ok').split(',')
    return steps[Math.min(before.length, steps.length) - 1] ?? 'ok'
  }
  const backends = async (start: typeof web): Promise<Backend[]> =>
    Promise.all(Array.from({ length: count }, async () => start(arrive)))
  const all = { web: await backends(web), calls: await backends(calls) }
  return {
    ...all,
    arrivals: (path) => seen.get(path) ?? [],
    close: async () => {
      await Promise.all([...all.web, ...all.calls].map(async ({ close }) => close()))
    },
  }
}

type Arrive = (path: string, arrival: Arrival) => string

async function web(arrive: Arrive): Promise<Backend> {
  const backend = await listen(
    createServer((request, response) => {
      const answer = (status: number): ServerResponse =>
        response.writeHead(status).end(String(backend.port))
      const arrival: Arrival = {
        ...{ port: backend.port, headers: request.headers, atMs: performance.now() },
        ...{ body: undefined, cancelled: undefined },
        release: () => answer(200),
      }
      void buffer(request).then(
        (body) => (arrival.body = body),
        () => undefined,
      )
      response.on('close', () => {
        if (!response.writableFinished) arrival.cancelled = -1
      })
      const [step = '', afterMs = '0'] = arrive(request.url ?? '', arrival).split('@')
      if (step === 'hold') return
      if (step === 'reset') request.socket.resetAndDestroy()
      else setTimeout(() => answer(step === 'ok' ? 200 : Number(step)), Number(afterMs))
    }),
  )
  return backend
}

async function calls(arrive: Arrive): Promise<Backend> {
  const server = http2.createServer()
  const backend = await listen(server)
  server.on('stream', (stream, headers) => {
    const answer = (status: string, pushback?: string): void => {
      if (stream.destroyed) return
      stream.respond(
        {
          ...{ ':status': 200, 'content-type': 'application/grpc' },
          ...{ 'grpc-status': status, 'x-port': String(backend.port) },
          ...(pushback !== undefined && { 'grpc-retry-pushback-ms': pushback }),
        },
        { endStream: true },
      )
    }
    const arrival: Arrival = {
      ...{ port: backend.port, headers, atMs: performance.now() },
      ...{ body: undefined, cancelled: undefined },
      release: () => {
        answer('0')
      },
    }
    stream.on('error', () => undefined)
    stream.on('close', () => {
      if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR)
        arrival.cancelled = stream.rstCode
    })
    void buffer(stream).then(
      (body) => (arrival.body = body),
      () => undefined,
    )
    const [plan = '', afterMs = '0'] = arrive(headers[':path'] ?? '', arrival).split('@')
    const [step = '', pushback] = plan.split(':')
    if (step === 'hold') return
    if (step === 'head')
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    else if (step === 'reset') stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
    else
      setTimeout(() => {
        answer(step === 'ok' ? '0' : step, pushback)
      }, Number(afterMs))
  })
  return backend
}
