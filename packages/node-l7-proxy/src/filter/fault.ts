// SPDX-License-Identifier: Apache-2.0
// PURE. Failures on purpose (L7Service spec.faults), decided for one request.
import type { Faults } from '@pillion/contract'

/** Shares are in millionths. */
const whole = 1_000_000

export type Fault = {
  /** 0: none. */
  readonly delayMs: number
  /** undefined: the request is sent. */
  readonly abort: { readonly status: number; readonly grpcStatus: number } | undefined
}

/** What this request gets; both shares are drawn separately. undefined: nothing. */
export function faultOf(
  faults: Faults | undefined,
  random: () => number,
): Fault | undefined {
  if (faults === undefined) return undefined
  const { delayShare, delayMs, abortShare, abortStatus, abortGrpcStatus } = faults
  const delayed = random() * whole < delayShare
  const aborted = random() * whole < abortShare
  if (!delayed && !aborted) return undefined
  const abort = { status: abortStatus, grpcStatus: abortGrpcStatus }
  return { delayMs: delayed ? delayMs : 0, abort: aborted ? abort : undefined }
}
