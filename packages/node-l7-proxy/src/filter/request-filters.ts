// SPDX-License-Identifier: Apache-2.0
import type { Message } from '../exchange.ts'
import type { FilterSet, PathMatch } from '../route/table.ts'
import { editHeaders } from './header-modifier.ts'
import { rewritePath } from './rewrite.ts'

/** The filters of a rule, or of one of its backends, that change the request. In place. */
export function applyRequestFilters(
  message: Message,
  filters: FilterSet,
  match: PathMatch,
): void {
  const { requestHeaders, rewrite } = filters
  if (rewrite !== undefined) {
    if (rewrite.hostname !== undefined) message.authority = rewrite.hostname
    if (rewrite.path !== undefined)
      message.path = rewritePath(message.path, rewrite.path, match)
  }
  if (requestHeaders !== undefined) {
    editHeaders(message.headers, requestHeaders)
  }
}
