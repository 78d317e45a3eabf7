// SPDX-License-Identifier: Apache-2.0
// HTTPRequestRedirectFilter (Gateway API).
import type { PathMatch, RedirectSpec } from '../route/table.ts'
import { rewritePath } from './rewrite.ts'

const wellKnown: Readonly<Record<string, number>> = { http: 80, https: 443 }

/**
 * The Location of a redirect. Port: the filter's; else the well-known one of a scheme that the filter sets; else the port
 * that the client asked for. A port that is its scheme's own is not written.
 */
export function redirectLocation(
  redirect: RedirectSpec,
  request: { readonly authority: string; readonly path: string; readonly port: number },
  match: PathMatch,
): string {
  const scheme = redirect.scheme ?? 'http'
  const host = redirect.hostname ?? hostOf(request.authority)
  const port =
    redirect.port ??
    (redirect.scheme === undefined
      ? request.port
      : (wellKnown[redirect.scheme] ?? request.port))
  const shown = wellKnown[scheme] === port ? '' : `:${port}`
  const path =
    redirect.path === undefined
      ? request.path
      : rewritePath(request.path, redirect.path, match)
  return `${scheme}://${host}${shown}${path}`
}

function hostOf(authority: string): string {
  return authority.replace(/:\d+$/, '')
}
