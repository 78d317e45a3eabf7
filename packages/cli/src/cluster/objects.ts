// SPDX-License-Identifier: Apache-2.0
// Objects of a cluster: found by kind through discovery, listed in pages, applied by the server.
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, type Cluster } from '@pillion/operator'
import { CliError } from '../errors.ts'

/** Any object, as far as the command line looks into it. */
export interface ApiObject {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly uid?: string
    readonly resourceVersion?: string
    readonly generation?: number
    readonly deletionTimestamp?: string
    readonly finalizers?: readonly string[]
    readonly labels?: Readonly<Record<string, string>>
  }
  readonly spec?: Readonly<Record<string, unknown>>
  readonly status?: Readonly<Record<string, unknown>>
  readonly [field: string]: unknown
}

/** An object of a manifest: it says its kind. */
export type Manifest = ApiObject & { readonly apiVersion: string; readonly kind: string }

export const fieldManager = 'pillion'
const pageSize = 500

interface Kind {
  readonly plural: string
  readonly namespaced: boolean
}

interface ResourceList {
  readonly resources: readonly { name: string; kind: string; namespaced: boolean }[]
}

/** "HTTPRoute shop/web". */
export function describeObject({ kind, metadata }: ApiObject): string {
  const { namespace, name } = metadata
  return `${kind ?? 'object'} ${namespace === undefined ? '' : `${namespace}/`}${name}`
}

export class Objects {
  readonly cluster: Cluster
  readonly #lists = new Map<string, Promise<ResourceList | undefined>>()

  constructor(cluster: Cluster) {
    this.cluster = cluster
  }

  /** Path of an object; undefined while its kind is not served. */
  async pathOf(object: Manifest): Promise<string | undefined> {
    const { apiVersion, kind, metadata } = object
    const known = await this.kindOf(apiVersion, kind)
    if (known === undefined) return undefined
    const name = encodeURIComponent(metadata.name)
    const namespace = known.namespaced ? (metadata.namespace ?? 'default') : undefined
    return `${collection(apiVersion, known.plural, namespace)}/${name}`
  }

  async kindOf(apiVersion: string, kind: string): Promise<Kind | undefined> {
    const list = await this.#list(apiVersion)
    const found = list?.resources.find(
      (resource) => resource.kind === kind && !resource.name.includes('/'),
    )
    return found && { plural: found.name, namespaced: found.namespaced }
  }

  /** The object, or undefined when it or its kind is not there. */
  async get(object: Manifest): Promise<ApiObject | undefined> {
    const path = await this.pathOf(object)
    return path === undefined ? undefined : getPath(this.cluster, path)
  }

  /** All objects of a kind, in one namespace or in all; empty when the kind is not served. */
  async list(apiVersion: string, kind: string, namespace?: string): Promise<ApiObject[]> {
    const known = await this.kindOf(apiVersion, kind)
    if (known === undefined) return []
    const path = collection(apiVersion, known.plural, namespace)
    const items = await listPath(this.cluster, path)
    return items.map((item) => ({ ...item, apiVersion, kind }))
  }

  /**
   * Server-side apply. Conflicts are won: what is installed is as this command has it, whoever installed it before.
   * Throws a CliError when the kind is not served, an ApiError when the server refuses.
   */
  async apply(object: Manifest, dryRun = false): Promise<ApiObject> {
    const path = await this.pathOf(object)
    if (path === undefined)
      throw new CliError(
        'failed',
        `${describeObject(object)}: the API server does not serve ${object.apiVersion} ${object.kind}`,
      )
    return this.cluster.client.request<ApiObject>({
      method: 'PATCH',
      path,
      contentType: 'application/apply-patch+yaml',
      query: { fieldManager, force: 'true', ...(dryRun ? { dryRun: 'All' } : {}) },
      body: object,
    })
  }

  /** Starts the deletion; false when nothing was there. */
  async remove(object: Manifest): Promise<boolean> {
    const path = await this.pathOf(object)
    if (path === undefined) return false
    try {
      await this.cluster.client.request({
        method: 'DELETE',
        path,
        body: {
          kind: 'DeleteOptions',
          apiVersion: 'v1',
          propagationPolicy: 'Background',
        },
      })
      return true
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }

  /** Kinds may have come: asks again. */
  forget(): void {
    this.#lists.clear()
  }

  #list(apiVersion: string): Promise<ResourceList | undefined> {
    let list = this.#lists.get(apiVersion)
    if (list === undefined) {
      const path = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
      list = unlessMissing(this.cluster.client.request<ResourceList>({ path }))
      this.#lists.set(apiVersion, list)
    }
    return list
  }
}

/** Path of a collection. */
export function collection(
  apiVersion: string,
  plural: string,
  namespace?: string,
): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const scope =
    namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  return `${root}${scope}/${plural}`
}

export function getPath(cluster: Cluster, path: string): Promise<ApiObject | undefined> {
  return unlessMissing(cluster.client.request<ApiObject>({ path }))
}

export async function listPath(cluster: Cluster, path: string): Promise<ApiObject[]> {
  const items: ApiObject[] = []
  let next: string | undefined
  do {
    const query = {
      limit: String(pageSize),
      ...(next === undefined ? {} : { continue: next }),
    }
    const page = await cluster.client.request<{
      items: ApiObject[]
      metadata: { continue?: string }
    }>({ path, query })
    items.push(...page.items)
    next = page.metadata.continue || undefined
  } while (next !== undefined)
  return items
}

export function isMissing(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404
}

async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Between two looks at something that is waited for. */
const lookMs = 500

/**
 * Looks until `look` returns a value. Throws a CliError `timeout` with what `missing` says then. The API server may be away in
 * between: that is one more reason to wait.
 */
export async function until<T>(
  timeoutMs: number,
  look: () => Promise<T | undefined>,
  missing: () => string,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    let away = ''
    try {
      const found = await look()
      if (found !== undefined) return found
    } catch (error) {
      const passes =
        error instanceof ApiError && (error.status === 0 || error.status > 499)
      if (!passes) throw error
      away = `; the API server: ${error.message}`
    }
    const leftMs = deadline - Date.now()
    if (leftMs <= 0)
      throw new CliError(
        'timeout',
        `not in ${Math.round(timeoutMs / 1000)} s: ${missing()}${away}`,
      )
    await sleep(Math.min(lookMs, leftMs))
  }
}
