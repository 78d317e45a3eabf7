// SPDX-License-Identifier: Apache-2.0
// HTTPPathModifier (Gateway API), for rewrites and redirects.
import type { PathEdit, PathMatch } from '../route/table.ts'

/** The path (with query) after the edit. A prefix edit replaces what the rule's prefix matched, and keeps the rest. */
export function rewritePath(path: string, edit: PathEdit, match: PathMatch): string {
  const question = path.indexOf('?')
  const bare = question < 0 ? path : path.slice(0, question)
  const query = question < 0 ? '' : path.slice(question)
  if (edit.kind === 'full') return withSlash(edit.value) + query
  const matched =
    match.kind === 'prefix' || match.kind === 'exact' ? match.value.length : 0
  const rest = bare.slice(matched)
  const prefix = edit.value.replace(/\/+$/, '')
  return (
    withSlash(prefix + (rest === '' || rest.startsWith('/') ? rest : `/${rest}`)) + query
  )
}

function withSlash(path: string): string {
  return path.startsWith('/') ? path : `/${path}`
}
