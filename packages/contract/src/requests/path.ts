// SPDX-License-Identifier: Apache-2.0
// PURE: one spelling for every path, before routing and policy see it: what is decided about is what is sent on.

/** What a request target may not have, where policy is about paths: servers read it in more than one way. */
export type PathProblem =
  | 'not a path'
  | 'broken percent-encoding'
  | 'encoded slash or backslash'
  | 'backslash'
  | 'control character'
  | 'not UTF-8'
  | 'fragment'
  | 'dot segment with parameters'

/** True for nearly every path: nothing in it has a second spelling. One pass, nothing allocated. */
const segment = "[\\w~!$&'()*+,;=:@-][\\w.~!$&'()*+,;=:@-]*"
const plain = new RegExp(`^/(?:${segment}(?:/${segment})*/?)?(?:\\?|$)`)

const unreserved = /^[A-Za-z0-9._~-]$/

/**
 * The normal form of `target` (path and query; only the path changes) by RFC 3986 6.2.2: percent-encoded unreserved
 * characters are decoded, the others get capital digits, dot segments are removed. Broken encoding stays as it is.
 */
export function normalisePath(target: string): string {
  if (!target.startsWith('/') || plain.test(target)) return target
  const { path, query } = split(target)
  return removeDotSegments(decodeUnreserved(path)) + query
}

/**
 * The stricter form where policy is about the service: slashes in a row are one, too. A target that servers read in more
 * than one way is refused: returns what is wrong with it.
 */
export function strictPath(target: string): { path: string } | { problem: PathProblem } {
  if (target === '*' || plain.test(target)) return { path: target }
  if (!target.startsWith('/')) return { problem: 'not a path' }
  const { path, query } = split(target)
  const decoded = decodeUnreserved(path)
  const problem = problemOf(decoded)
  if (problem !== undefined) return { problem }
  return { path: removeDotSegments(decoded.replace(/\/{2,}/g, '/')) + query }
}

/** Without query: what conditions on paths are compared with. */
export function withoutQuery(target: string): string {
  const question = target.indexOf('?')
  return question < 0 ? target : target.slice(0, question)
}

/** Without ";name=value" in its segments, which some servers do not count as path (RFC 3986 3.3). */
export function withoutParameters(path: string): string {
  return path.includes(';') ? path.replace(/;[^/]*/g, '') : path
}

function split(target: string): { path: string; query: string } {
  const path = withoutQuery(target)
  return { path, query: target.slice(path.length) }
}

/** Once: "%252e" is "%252e". */
function decodeUnreserved(path: string): string {
  return path.replace(/%[0-9A-Fa-f]{2}/g, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return unreserved.test(character) ? character : encoded.toUpperCase()
  })
}

/** RFC 3986 5.2.4, on a path that starts with a slash. */
function removeDotSegments(path: string): string {
  const out: string[] = []
  const segments = path.split('/').slice(1)
  for (const [i, segment] of segments.entries()) {
    if (segment !== '.' && segment !== '..') {
      out.push(segment)
      continue
    }
    if (segment === '..') out.pop()
    if (i === segments.length - 1) out.push('')
  }
  return `/${out.join('/')}`
}

function problemOf(path: string): PathProblem | undefined {
  if (/%(?![0-9A-F]{2})/.test(path)) return 'broken percent-encoding'
  if (/%2F|%5C/.test(path)) return 'encoded slash or backslash'
  if (path.includes('\\')) return 'backslash'
  if (/%[01][0-9A-F]|%7F|[\0-\x20\x7f]/.test(path)) return 'control character'
  if (path.includes('#')) return 'fragment'
  if (/\/\.{1,2};/.test(path)) return 'dot segment with parameters'
  // Bytes beyond ASCII came without encoding, and nobody says in what character set.
  if (/[^\0-\x7f]/.test(path) || !isUtf8(path)) return 'not UTF-8'
  return undefined
}

/** Overlong forms ("%C0%AE" for a dot) are not UTF-8. */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}
