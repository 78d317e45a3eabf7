// SPDX-License-Identifier: Apache-2.0
// PURE: filters and backends of the contract -> those of the request path.
import type {
  Backend,
  Cors,
  Filter,
  HeaderModifier,
  Mirror,
  PathModifier,
} from '@pillion/contract'
import type {
  BackendRef,
  CorsSpec,
  FilterSet,
  HeaderEdit,
  MirrorSpec,
  PathEdit,
} from './table.ts'

export const noFilters: FilterSet = {
  requestHeaders: undefined,
  responseHeaders: undefined,
  redirect: undefined,
  rewrite: undefined,
  cors: undefined,
  mirrors: [],
}

/** Those with a weight, and the sum of weights up to each. */
export function compileBackends(backends: readonly Backend[]): BackendRef[] {
  let sum = 0
  return backends
    .filter(({ weight }) => weight > 0)
    .map((backend) => compileBackend(backend, (sum += backend.weight)))
}

function compileBackend(backend: Backend, cumulativeWeight: number): BackendRef {
  return {
    servicePort: backend.servicePort === '' ? undefined : backend.servicePort,
    serviceId: backend.serviceId,
    cumulativeWeight,
    filters: compileFilters(backend.filters),
    protocol: backend.protocol,
  }
}

/** Throws a TypeError for a filter that this version does not know: left out, requests would go where nobody wanted. */
export function compileFilters(filters: readonly Filter[]): FilterSet {
  if (filters.length === 0) return noFilters
  const set: { -readonly [K in keyof FilterSet]: FilterSet[K] } = { ...noFilters }
  for (const { body } of filters) {
    switch (body?.$case) {
      case 'requestHeaders':
        set.requestHeaders = compileEdit(body.value)
        break
      case 'responseHeaders':
        set.responseHeaders = compileEdit(body.value)
        break
      case 'redirect':
        set.redirect = {
          scheme: body.value.scheme || undefined,
          hostname: body.value.hostname || undefined,
          port: body.value.port || undefined,
          path: compilePathEdit(body.value.path),
          status: body.value.status || 302,
        }
        break
      case 'rewrite':
        set.rewrite = {
          hostname: body.value.hostname || undefined,
          path: compilePathEdit(body.value.path),
        }
        break
      case 'mirror':
        set.mirrors = [...set.mirrors, ...compileMirror(body.value)]
        break
      case 'cors':
        set.cors = compileCors(body.value)
        break
      case undefined:
        throw new TypeError('a filter of a kind that this proxy does not know')
    }
  }
  return set
}

function compileEdit(edit: HeaderModifier): HeaderEdit {
  const pairs = (list: HeaderModifier['set']): [string, string][] =>
    list.map(({ name, value }) => [name.toLowerCase(), value])
  return {
    set: pairs(edit.set),
    add: pairs(edit.add),
    remove: edit.remove.map((name) => name.toLowerCase()),
  }
}

function compilePathEdit(path: PathModifier | undefined): PathEdit | undefined {
  if (path?.full !== undefined) return { kind: 'full', value: path.full }
  if (path?.prefix !== undefined) return { kind: 'prefix', value: path.prefix }
  return undefined
}

/** A mirror to nowhere, or of nothing, is none. */
function compileMirror({ backend, numerator, denominator }: Mirror): MirrorSpec[] {
  const share = numerator / denominator
  if (backend === undefined || backend.servicePort === '' || !(share > 0)) return []
  return [{ backend: compileBackend(backend, 1), share }]
}

function compileCors(cors: Cors): CorsSpec {
  const list = (values: readonly string[]): string | undefined =>
    values.includes('*') ? undefined : values.join(', ')
  const origins = cors.allowOrigins.map(compileOrigin)
  return {
    allowsOrigin: (origin) => origins.some((allows) => allows(origin.toLowerCase())),
    origins: cors.allowOrigins,
    credentials: cors.allowCredentials,
    methods: list(cors.allowMethods),
    headers: list(cors.allowHeaders),
    expose: cors.exposeHeaders.join(', '),
    maxAgeSeconds: cors.maxAgeSeconds,
  }
}

const labels = /^[a-z0-9.-]+$/

/** "*" is any origin; "https://*.example.com" any number of labels before it, but not the bare domain. */
function compileOrigin(allowed: string): (origin: string) => boolean {
  const text = allowed.toLowerCase()
  if (text === '*') return () => true
  const star = text.indexOf('*')
  if (star < 0) return (origin) => origin === text
  const [head, tail] = [text.slice(0, star), text.slice(star + 1)]
  return (origin) =>
    origin.startsWith(head) &&
    origin.endsWith(tail) &&
    labels.test(origin.slice(head.length, origin.length - tail.length))
}
