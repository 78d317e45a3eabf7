// SPDX-License-Identifier: Apache-2.0
// What an endpoint may answer, beyond what the parsers refuse themselves. An endpoint is as little trusted as a client: what
// it sends goes to others.
import { type Headers, joinedHeader } from '../headers.ts'
import type { UpstreamFailure } from './upstream.ts'

/** Interim answers that one request may get; hints and progress are a handful, a flood is work for everybody behind us. */
const informationalMax = 32

export type AnswerLimits = {
  /** Of the endpoint, for errors. */
  readonly label: string
  /** Fields of one head. */
  readonly headerFields: number
  readonly headerBytes: number
}

/** For HTTP/2: node holds to the size that SETTINGS say only once the endpoint has acknowledged them. */
export function faultOfSize(
  bytes: number,
  limits: AnswerLimits,
): UpstreamFailure | undefined {
  if (bytes <= limits.headerBytes) return undefined
  return fault(limits, `a header of ${bytes} bytes`)
}

/** Why a final head is not passed on: no client could be sure what it means. */
export function faultOfHead(
  status: number,
  headers: Headers,
  limits: AnswerLimits,
): UpstreamFailure | undefined {
  // 600 and above are no HTTP (RFC 9110 15), and no HTTP/2 client could be told.
  if (!(status >= 200 && status <= 599)) return fault(limits, `status ${status}`)
  if (headers.length > 2 * limits.headerFields)
    return fault(limits, `more than ${limits.headerFields} fields`)
  const coding = joinedHeader(headers, 'transfer-encoding')
  if (coding !== undefined && coding.toLowerCase() !== 'chunked')
    return fault(limits, `Transfer-Encoding: ${coding.slice(0, 64)}`)
  return undefined
}

/** Why an interim answer is not passed on; `seen`: how many came, this one included. */
export function faultOfInformational(
  status: number,
  seen: number,
  limits: AnswerLimits,
): UpstreamFailure | undefined {
  if (status < 100 || status === 101) return fault(limits, `status ${status}`)
  if (seen > informationalMax)
    return fault(limits, `more than ${informationalMax} interim answers`)
  return undefined
}

function fault({ label }: AnswerLimits, what: string): UpstreamFailure {
  return { kind: 'protocol', detail: `${label}: ${what}` }
}
