// SPDX-License-Identifier: Apache-2.0
// PURE: what arrived from a filter's thread -> a message. Its port is open to the filter as well, which may send whatever it likes.
import { isIn } from './answer.ts'
import { maxEdits } from './fields.ts'
import type { FromThread } from './wire.ts'

type Fields = Readonly<Record<string, unknown>>

const levels: ReadonlySet<unknown> = new Set(['info', 'warn', 'error'])
const isText = (value: unknown): value is string => typeof value === 'string'

/** Checks the shape, not whose message it is. `data` has been cloned: plain data, without getters. undefined: it is no message. */
export function fromThread(data: unknown): FromThread | undefined {
  if (typeof data !== 'object' || data === null) return undefined
  return isMessage(data as Fields) ? (data as FromThread) : undefined
}

function isMessage(message: Fields): boolean {
  switch (message['type']) {
    case 'done':
      return (
        Number.isInteger(message['seq']) &&
        isEdits(message['edits']) &&
        isAnswer(message['answer'])
      )
    case 'failed':
      return Number.isInteger(message['seq']) && isText(message['error'])
    case 'pong':
      return true
    case 'log':
      return (
        levels.has(message['level']) &&
        isText(message['text']) &&
        Number.isInteger(message['dropped'])
      )
    case 'ready': {
      const hooks = message['hooks']
      return (
        Array.isArray(hooks) &&
        hooks.every((hook) => hook === 'request' || hook === 'response')
      )
    }
    case 'broken':
      return isText(message['error'])
    default:
      return false
  }
}

function isEdits(edits: unknown): boolean {
  return isTexts(edits, 3) && edits.length <= maxEdits * 3
}

function isAnswer(answer: unknown): boolean {
  if (answer === undefined) return true
  if (typeof answer !== 'object' || answer === null) return false
  const { status, headers, body, grpcStatus } = answer as Fields
  return (
    isIn(status, 200, 599) &&
    isTexts(headers, 2) &&
    isText(body) &&
    isIn(grpcStatus, 0, 16)
  )
}

/** Texts of which `each` belong together. */
function isTexts(value: unknown, each: number): value is string[] {
  return Array.isArray(value) && value.length % each === 0 && value.every(isText)
}
