// SPDX-License-Identifier: Apache-2.0
// Where status goes: files beside the directory source, the status subresource with the Kubernetes source.
import type { ValidationError } from '../api/object.ts'
import type { SubscriberStatus } from '../publish/publisher.ts'
import type { ObjectStatus } from './conditions.ts'

/** The status of everything. */
export interface Summary {
  readonly version: number
  readonly objects: readonly ObjectStatus[]
  readonly errors: readonly ValidationError[]
  readonly subscribers: readonly SubscriberStatus[]
}

export interface StatusSink {
  /** Takes over what is true now; what is not named has no status any more. May throw what keeps it from being written. */
  write(summary: Summary): void
  close(): Promise<void>
}
