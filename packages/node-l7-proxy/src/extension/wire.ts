// SPDX-License-Identifier: Apache-2.0
// What the proxy and the thread of a filter say to each other (structured clone).
import type { Headers } from '../headers.ts'
import type { Edits } from './fields.ts'
import type { Answer, FilterContext, RequestLine } from './filter.ts'

export type Hook = 'request' | 'response'

/** What a filter is told beside the header. */
export type Facts = Pick<
  FilterContext,
  'source' | 'service' | 'route' | 'requestId' | 'traceId'
> & { readonly request: RequestLine }

export type Call = {
  readonly hook: Hook
  /** JSON; the thread parses each text once. */
  readonly config: string
  readonly facts: Facts
  /** Of the response; 0: there is none yet. */
  readonly status: number
  readonly headers: Headers
}

/** A filter's answer, checked and complete. */
export type CheckedAnswer = Required<Omit<Answer, 'headers'>> & {
  readonly headers: Headers
}

/** What a thread is started with. */
export type ThreadData = {
  /** URL of the filter's file. */
  readonly file: string
  /** '': there are no secrets. */
  readonly secretsDir: string
}

export type ToThread =
  | {
      readonly type: 'call'
      readonly seq: number
      readonly call: Call
      /** If it is its turn later (sharedMs()), it is not begun, nor answered. */
      readonly beginByMs: number
    }
  | { readonly type: 'ping' }
  /** It has much memory: is it garbage? */
  | { readonly type: 'collect' }

export type FromThread =
  /** The file is imported; these are its functions. */
  | { readonly type: 'ready'; readonly hooks: readonly Hook[] }
  /** The file cannot be used. */
  | { readonly type: 'broken'; readonly error: string }
  | {
      readonly type: 'done'
      readonly seq: number
      readonly edits: Edits
      readonly answer: CheckedAnswer | undefined
    }
  /** It threw or rejected, or returned what is no answer. `error`: with the stack. */
  | { readonly type: 'failed'; readonly seq: number; readonly error: string }
  | { readonly type: 'pong' }
  | {
      readonly type: 'log'
      readonly level: 'info' | 'warn' | 'error'
      readonly text: string
      /** Lines before this one that did not fit. */
      readonly dropped: number
    }
