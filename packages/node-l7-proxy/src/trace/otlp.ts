// SPDX-License-Identifier: Apache-2.0
// PURE: spans as an ExportTraceServiceRequest of OTLP 1 (opentelemetry/proto/collector/trace/v1), by field number.
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import type { Attributes, Span } from './span.ts'

/** Wire types: varint 0, 64 bits 1, length-delimited 2, 32 bits 5. */
const tag = (field: number, wire: number): number => field * 8 + wire

const kinds = { SERVER: 2, CLIENT: 3 } as const
const statusError = 2

/** `originMs`: performance.timeOrigin, to which the spans' times are added. */
export function encodeSpans(
  resource: Attributes,
  spans: readonly Span[],
  originMs: number,
): Uint8Array {
  const writer = new BinaryWriter()
  nested(writer, 1, () => {
    nested(writer, 1, () => {
      attributes(writer, 1, resource)
    })
    nested(writer, 2, () => {
      nested(writer, 1, () => {
        writer.uint32(tag(1, 2)).string('pillion-proxy')
      })
      for (const span of spans) {
        nested(writer, 2, () => {
          encodeSpan(writer, span, originMs)
        })
      }
    })
  })
  return writer.finish()
}

function encodeSpan(writer: BinaryWriter, span: Span, originMs: number): void {
  writer.uint32(tag(1, 2)).bytes(Buffer.from(span.traceId, 'hex'))
  writer.uint32(tag(2, 2)).bytes(Buffer.from(span.spanId, 'hex'))
  if (span.parentId !== '')
    writer.uint32(tag(4, 2)).bytes(Buffer.from(span.parentId, 'hex'))
  writer.uint32(tag(5, 2)).string(span.name)
  writer.uint32(tag(6, 0)).uint32(kinds[span.kind])
  writer.uint32(tag(7, 1)).fixed64(nanoseconds(originMs, span.startMs))
  writer.uint32(tag(8, 1)).fixed64(nanoseconds(originMs, span.endMs))
  attributes(writer, 9, span.attributes)
  if (span.isError) {
    nested(writer, 15, () => {
      writer.uint32(tag(3, 0)).uint32(statusError)
    })
  }
}

/** Nanoseconds since 1970 do not fit a double. */
function nanoseconds(originMs: number, atMs: number): bigint {
  const ms = Math.floor(originMs)
  return BigInt(ms) * 1_000_000n + BigInt(Math.round((originMs - ms + atMs) * 1e6))
}

function attributes(writer: BinaryWriter, field: number, values: Attributes): void {
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue
    nested(writer, field, () => {
      writer.uint32(tag(1, 2)).string(key)
      nested(writer, 2, () => {
        if (typeof value === 'string') writer.uint32(tag(1, 2)).string(value)
        else if (Number.isInteger(value)) writer.uint32(tag(3, 0)).int64(value)
        else writer.uint32(tag(4, 1)).double(value)
      })
    })
  }
}

function nested(writer: BinaryWriter, field: number, write: () => void): void {
  writer.uint32(tag(field, 2)).fork()
  write()
  writer.join()
}
