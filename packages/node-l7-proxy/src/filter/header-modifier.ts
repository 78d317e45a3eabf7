// SPDX-License-Identifier: Apache-2.0
// HTTPHeaderFilter (Gateway API): set overwrites, add appends to the value, remove deletes.
import { type Headers, joinedHeader, removeHeader, setHeader } from '../headers.ts'
import type { HeaderEdit } from '../route/table.ts'

/** Applies an edit in place. Conformance wants "old,new" from add: one field, not a second line. */
export function editHeaders(headers: Headers, edit: HeaderEdit): void {
  for (const [name, value] of edit.set) setHeader(headers, name, value)
  for (const [name, value] of edit.add) {
    const old = name === 'set-cookie' ? undefined : joinedHeader(headers, name)
    if (old === undefined) headers.push(name, value)
    else setHeader(headers, name, `${old},${value}`)
  }
  for (const name of edit.remove) removeHeader(headers, name)
}
