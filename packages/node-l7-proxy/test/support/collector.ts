// SPDX-License-Identifier: Apache-2.0
// A trace collector: OTLP over HTTP, decoded by field number with nothing of the proxy's.
import { createServer, type IncomingMessage } from 'node:http'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import { listen } from './http.ts'

export type ReceivedSpan = {
  traceId: string
  spanId: string
  parentId: string
  name: string
  kind: number
  durationNs: number
  startMs: number
  isError: boolean
  attributes: Record<string, string | number>
}

export type Collector = {
  readonly url: string
  readonly spans: ReceivedSpan[]
  readonly resources: Record<string, string | number>[]
  readonly requests: { path: string; type: string | undefined; spans: number }[]
  /** Answers of the next requests; 200 when there is none. */
  readonly answers: { status: number; headers?: Record<string, string> }[]
  close(): Promise<void>
}

export async function startCollector(): Promise<Collector> {
  const spans: ReceivedSpan[] = []
  const resources: Collector['resources'] = []
  const requests: Collector['requests'] = []
  const answers: Collector['answers'] = []
  const receive = async (request: IncomingMessage): Promise<number> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const got = decode(Buffer.concat(chunks))
    const type = request.headers['content-type']
    requests.push({ path: request.url ?? '', type, spans: got.spans.length })
    const { status } = answers[0] ?? { status: 200 }
    if (status === 200) {
      spans.push(...got.spans)
      resources.push(got.resource)
    }
    return status
  }
  const server = await listen(
    createServer((request, response) => {
      void receive(request).then((status) => {
        response.writeHead(status, answers.shift()?.headers).end()
      })
    }),
  )
  const url = `http://127.0.0.1:${server.port}`
  return { url, spans, resources, requests, answers, close: server.close }
}

type Field = number | bigint | Uint8Array

function fields(bytes: Uint8Array): Map<number, Field[]> {
  const reader = new BinaryReader(bytes)
  const found = new Map<number, Field[]>()
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag()
    const value =
      wire === 0
        ? BigInt(reader.int64())
        : wire === 1
          ? BigInt(reader.fixed64())
          : reader.bytes()
    found.set(number, [...(found.get(number) ?? []), value])
  }
  return found
}

const all = (message: Map<number, Field[]>, number: number): Uint8Array[] =>
  (message.get(number) ?? []) as Uint8Array[]
const bytesOf = (message: Map<number, Field[]>, number: number): Uint8Array =>
  all(message, number)[0] ?? new Uint8Array()
const textOf = (message: Map<number, Field[]>, number: number): string =>
  Buffer.from(bytesOf(message, number)).toString()
const hexOf = (message: Map<number, Field[]>, number: number): string =>
  Buffer.from(bytesOf(message, number)).toString('hex')
const numberOf = (message: Map<number, Field[]>, number: number): bigint =>
  BigInt((message.get(number)?.[0] as bigint | undefined) ?? 0n)

function decode(body: Uint8Array): {
  spans: ReceivedSpan[]
  resource: Record<string, string | number>
} {
  const resourceSpans = fields(bytesOf(fields(body), 1))
  const scope = fields(bytesOf(resourceSpans, 2))
  return {
    resource: attributesOf(fields(bytesOf(resourceSpans, 1)), 1),
    spans: all(scope, 2).map(fields).map(spanOf),
  }
}

function spanOf(span: Map<number, Field[]>): ReceivedSpan {
  return {
    ...{ traceId: hexOf(span, 1), spanId: hexOf(span, 2), parentId: hexOf(span, 4) },
    ...{ name: textOf(span, 5), kind: Number(numberOf(span, 6)) },
    startMs: Number(numberOf(span, 7) / 1_000_000n),
    durationNs: Number(numberOf(span, 8) - numberOf(span, 7)),
    isError: numberOf(fields(bytesOf(span, 15)), 3) === 2n,
    attributes: attributesOf(span, 9),
  }
}

function attributesOf(
  message: Map<number, Field[]>,
  number: number,
): Record<string, string | number> {
  return Object.fromEntries(
    all(message, number).map((bytes) => {
      const pair = fields(bytes)
      const value = fields(bytesOf(pair, 2))
      const text = value.has(1) ? textOf(value, 1) : Number(numberOf(value, 3))
      return [textOf(pair, 1), text]
    }),
  )
}
