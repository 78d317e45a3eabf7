// SPDX-License-Identifier: Apache-2.0
// One object: which schema it has, and what is wrong with it in words that name the field.
import { z } from 'zod'
import * as core from './core.ts'
import { backendTrafficPolicy, xMesh } from './experimental.ts'
import { accessPolicy, l7Service, mesh } from './mesh.ts'
import { grpcRoute, httpRoute } from './route.ts'

/** Every kind that is compiled, with its schema. */
const schemas = {
  Mesh: mesh,
  Namespace: core.namespace,
  ServiceAccount: core.serviceAccount,
  Node: core.node,
  Pod: core.pod,
  Service: core.service,
  EndpointSlice: core.endpointSlice,
  NetworkPolicy: core.networkPolicy,
  AccessPolicy: accessPolicy,
  L7Service: l7Service,
  HTTPRoute: httpRoute,
  GRPCRoute: grpcRoute,
  XBackendTrafficPolicy: backendTrafficPolicy,
  XMesh: xMesh,
} as const

export type ApiKind = keyof typeof schemas
export const apiKinds = Object.keys(schemas) as readonly ApiKind[]

/** API groups of the kinds: another group's kind of the same name is not ours. */
const groups: Readonly<Record<ApiKind, string>> = {
  Mesh: 'mesh.pillion.dev',
  L7Service: 'mesh.pillion.dev',
  AccessPolicy: 'mesh.pillion.dev',
  HTTPRoute: 'gateway.networking.k8s.io',
  GRPCRoute: 'gateway.networking.k8s.io',
  XBackendTrafficPolicy: 'gateway.networking.x-k8s.io',
  XMesh: 'gateway.networking.x-k8s.io',
  NetworkPolicy: 'networking.k8s.io',
  EndpointSlice: 'discovery.k8s.io',
  Namespace: '',
  ServiceAccount: '',
  Node: '',
  Pod: '',
  Service: '',
}

const clusterScoped: ReadonlySet<string> = new Set(['Mesh', 'Namespace', 'Node', 'XMesh'])

/** Metadata with its namespace resolved: '' for what is cluster scoped. */
export type Metadata = Omit<core.Metadata, 'namespace'> & { readonly namespace: string }

/** A valid object of kind K, defaults filled in. */
export type ApiObject<K extends ApiKind = ApiKind> = {
  [P in K]: Omit<z.output<(typeof schemas)[P]>, 'metadata'> & {
    readonly kind: P
    readonly metadata: Metadata
  }
}[K]

/** An object as written. */
export interface RawObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly [field: string]: unknown
  }
  readonly [field: string]: unknown
}

/** Something that is not in force, and where it was written. `message` is one line. */
export interface ValidationError {
  /** Path below the source directory; empty: the object is in an API server. */
  readonly file: string
  /** "HTTPRoute shop/web"; empty when the file could not be read that far. */
  readonly object: string
  /** Key of the object, as `objectKey`; empty as above. */
  readonly key: string
  readonly field: string
  readonly message: string
}

/** "shop/web.yaml: HTTPRoute shop/web: spec.rules[0].matches[1].path.value: must start with "/"". */
export function formatError({ file, object, field, message }: ValidationError): string {
  return [file, object, field, message].filter((part) => part !== '').join(': ')
}

/** "HTTPRoute/shop/web", "Node//node-1". */
export function objectKey(kind: string, namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`
}

export function keyOf(object: {
  kind: string
  metadata: { namespace: string; name: string }
}): string {
  return objectKey(object.kind, object.metadata.namespace, object.metadata.name)
}

/** "HTTPRoute shop/web", "Node node-1". */
export function describeKey(key: string): string {
  const [kind = '', namespace = '', name = ''] = key.split('/')
  return namespace === '' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`
}

/** The kind that we compile, or undefined for every other. */
export function apiKindOf(raw: RawObject): ApiKind | undefined {
  const slash = raw.apiVersion.indexOf('/')
  const group = slash < 0 ? '' : raw.apiVersion.slice(0, slash)
  return apiKinds.find((kind) => kind === raw.kind && groups[kind] === group)
}

/** Key of an object as written; the namespace defaults to "default". */
export function rawKey(raw: RawObject): string {
  const kind = raw.kind
  const namespaced = !clusterScoped.has(kind)
  return objectKey(
    kind,
    namespaced ? (raw.metadata.namespace ?? 'default') : '',
    raw.metadata.name,
  )
}

export type Parsed =
  | { readonly object: ApiObject; readonly errors: readonly [] }
  | { readonly object: undefined; readonly errors: readonly ValidationError[] }

/** Validates an object of kind `kind` that was read from `file`. */
export function parseObject(kind: ApiKind, raw: RawObject, file: string): Parsed {
  const result = schemas[kind].safeParse(raw, { error: messageOfIssue })
  const key = rawKey(raw)
  if (result.success) {
    const [, namespace = ''] = key.split('/')
    const metadata = { ...result.data.metadata, namespace }
    return { object: { ...result.data, kind, metadata } as ApiObject, errors: [] }
  }
  const object = describeKey(key)
  const errors = result.error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') {
      return [{ file, object, key, field: fieldPath(issue.path), message: issue.message }]
    }
    return issue.keys.map((name) => {
      return {
        file,
        object,
        key,
        field: fieldPath([...issue.path, name]),
        message: 'unknown field',
      }
    })
  })
  return { object: undefined, errors }
}

function fieldPath(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '')
}

/** Words for the issues of zod that manifests really have; undefined: zod's own words. */
function messageOfIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      if (issue.input === undefined) return 'missing'
      const article = /^[aio]/.test(issue.expected) ? 'an' : 'a'
      const expected = {
        int: 'whole number',
        record: 'mapping',
        object: 'mapping',
        array: 'list',
      }
      const name = expected[issue.expected as keyof typeof expected] ?? issue.expected
      return `must be ${name === issue.expected ? article : 'a'} ${name}, not ${JSON.stringify(issue.input)}`
    }
    case 'invalid_value':
      if (issue.input === undefined) return 'missing'
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map((value) => JSON.stringify(value)).join(', ')}`
    case 'too_small':
      return issue.origin === 'array'
        ? `must have at least ${issue.minimum} item(s)`
        : `must be at least ${issue.minimum}${issue.origin === 'string' ? ' character(s) long' : ''}`
    case 'too_big':
      return issue.origin === 'array'
        ? `must have at most ${issue.maximum} items`
        : `must be at most ${issue.maximum}${issue.origin === 'string' ? ' characters long' : ''}`
    case 'invalid_key':
      return issue.issues[0]?.message
    default:
      return undefined
  }
}
