// SPDX-License-Identifier: Apache-2.0
// The two patch formats beside apply: JSON merge patch (RFC 7386) and JSON patch (RFC 6902).
import { ApiError, badRequest } from './errors.ts'
import { canonical } from './fieldset.ts'
import { isJson, type Json } from './types.ts'

/** `target` after a merge patch: null removes, maps merge, all else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isJson(patch)) return patch
  const result: Json = isJson(target) ? { ...target } : {}
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name]
    else result[name] = mergePatch(result[name], value)
  }
  return result
}

interface Operation {
  readonly op: string
  readonly path: string
  readonly from?: string
  readonly value?: unknown
}

const unprocessable = (message: string): ApiError =>
  new ApiError(
    422,
    'Invalid',
    `the server rejected our request due to an error in our request: ${message}`,
  )

const pointer = (path: string): string[] => {
  if (path !== '' && !path.startsWith('/')) throw badRequest(`bad JSON pointer: ${path}`)
  return path
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function at(document: unknown, parts: readonly string[]): unknown {
  let value = document
  for (const part of parts) {
    const next = Array.isArray(value)
      ? (value as unknown[])[Number(part)]
      : isJson(value)
        ? value[part]
        : undefined
    if (next === undefined) throw unprocessable(`no such path: /${parts.join('/')}`)
    value = next
  }
  return value
}

/** Puts (or, with `replace`, swaps) a value; undefined removes. */
function set(document: unknown, path: string, value: unknown, replace: boolean): unknown {
  const parts = pointer(path)
  const last = parts.at(-1)
  if (last === undefined) return value
  const parent = at(document, parts.slice(0, -1))
  if (replace || value === undefined) at(document, parts)
  if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last)
    if (!Number.isInteger(index) || index < 0 || index > parent.length)
      throw unprocessable(`bad index: ${path}`)
    if (value === undefined) parent.splice(index, 1)
    else parent.splice(index, replace ? 1 : 0, value)
  } else if (isJson(parent)) {
    if (value === undefined) delete parent[last]
    else parent[last] = value
  } else throw unprocessable(`no such path: ${path}`)
  return document
}

/** `target` after a JSON patch. Throws 422 if a path is missing or a test fails. */
export function jsonPatch(target: unknown, operations: unknown): unknown {
  if (!Array.isArray(operations)) throw badRequest('a JSON patch is a list of operations')
  let document = structuredClone(target)
  for (const { op, path, from = '', value } of operations as Operation[]) {
    if (op === 'test') {
      if (canonical(at(document, pointer(path))) !== canonical(value))
        throw unprocessable(`testing path ${path} failed`)
    } else if (op === 'add' || op === 'replace') {
      document = set(document, path, structuredClone(value), op === 'replace')
    } else if (op === 'remove') {
      document = set(document, path, undefined, false)
    } else if (op === 'copy' || op === 'move') {
      const moved = structuredClone(at(document, pointer(from)))
      if (op === 'move') document = set(document, from, undefined, false)
      document = set(document, path, moved, false)
    } else throw badRequest(`unknown operation ${op}`)
  }
  return document
}
