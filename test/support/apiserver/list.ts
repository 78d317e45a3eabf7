// SPDX-License-Identifier: Apache-2.0
// Lists: consistent at one revision, also over pages.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#the-resourceversion-parameter
import { ApiError, badRequest, expired } from './errors.ts'
import type { Matcher } from './selectors.ts'
import type { Store } from './store.ts'
import { apiVersionOf, collectionOf, type Json, type Resource } from './types.ts'
import { inVersion } from './writes.ts'

interface Page {
  readonly rv: number
  /** Key of the last object that was handed out. */
  readonly start: string
}

const encodePage = (page: Page): string =>
  Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', ...page })).toString('base64url')

function decodePage(token: string): Page {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString()) as Page
  } catch {
    throw badRequest('continue key is not valid')
  }
}

/** A revision that a client sent; undefined if it sent none. */
export function parseRevision(text: string | null): number | undefined {
  if (text === null || text === '') return undefined
  if (!/^\d+$/.test(text)) throw badRequest(`invalid resource version "${text}"`)
  return Number(text)
}

/** The client has seen a revision that this server has not. */
export const tooLarge = (wanted: number, current: number): ApiError =>
  new ApiError(
    ...([504, 'Timeout'] as const),
    `Too large resource version: ${wanted}, current: ${current}`,
    {
      retryAfterSeconds: 1,
      causes: [
        { reason: 'ResourceVersionTooLarge', message: 'Too large resource version' },
      ],
    },
  )

function revisionOf(query: URLSearchParams, store: Store): number {
  const wanted = parseRevision(query.get('resourceVersion'))
  const match = query.get('resourceVersionMatch')
  if (match !== null && wanted === undefined)
    throw badRequest(
      'resourceVersionMatch is forbidden unless resourceVersion is provided',
    )
  if (wanted !== undefined && wanted > store.revision)
    throw tooLarge(wanted, store.revision)
  return match === 'Exact' && wanted !== undefined ? wanted : store.revision
}

/** The list that a request asks for. Throws 410 if its revision is compacted. */
export function list(
  store: Store,
  resource: Resource,
  query: URLSearchParams,
  matches: Matcher,
): Json {
  const limit = Number(query.get('limit') ?? 0)
  const token = query.get('continue')
  if (token !== null && token !== '' && (query.get('resourceVersion') ?? '0') !== '0')
    throw badRequest('specifying resource version is not allowed when using continue')
  const page = token === null || token === '' ? undefined : decodePage(token)
  // rv -1: the token of an answer 410, which goes on from there at the newest revision.
  const revision = page === undefined ? revisionOf(query, store) : page.rv
  const at = revision === -1 ? store.revision : revision
  const all = store.list(collectionOf(resource), at)
  if (all === undefined)
    throw page === undefined
      ? expired(`The resourceVersion for the provided list is too old.`)
      : expired(
          'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results.',
          encodePage({ rv: -1, start: page.start }),
        )
  const left = all.filter(
    ([key, object]) => (page === undefined || key > page.start) && matches(object),
  )
  const items = limit > 0 ? left.slice(0, limit) : left
  const metadata: Json = { resourceVersion: String(at) }
  const last = items.at(-1)
  if (items.length < left.length && last !== undefined) {
    metadata['continue'] = encodePage({ rv: at, start: last[0] })
    const filtered = query.get('labelSelector') ?? query.get('fieldSelector')
    if (filtered === null) metadata['remainingItemCount'] = left.length - items.length
  }
  return {
    kind: `${resource.kind}List`,
    apiVersion: apiVersionOf(resource.group, resource.version),
    metadata,
    // Items of lists of built-in kinds have no kind on the real server; those of custom kinds do.
    items: items.map(([, object]) => {
      const item = inVersion(resource, object)
      if (resource.crd !== undefined) return item
      const { apiVersion: _1, kind: _2, ...rest } = item
      return rest
    }),
  }
}
