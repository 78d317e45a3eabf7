// SPDX-License-Identifier: Apache-2.0
// From a parsed and authorised request to its answer.
import { jsonIn, objectIn, parsed, writeOptions, type Call, type Parts } from './call.ts'
import { discover } from './discovery.ts'
import {
  ApiError,
  badRequest,
  conflict,
  invalidField,
  unknownPath,
  unsupportedMediaType,
} from './errors.ts'
import { list } from './list.ts'
import { openApi } from './openapi.ts'
import { jsonPatch, mergePatch } from './patch.ts'
import type { RequestInfo } from './request.ts'
import { answerReview } from './reviews.ts'
import { matcherOf } from './selectors.ts'
import type { Json, KubeObject, Resource } from './types.ts'
import type { Target, WriteOptions } from './writes.ts'

/** What is answered. */
export interface Answer {
  readonly code: number
  readonly body: Json | string
}

const ok = (body: Json | string): Answer => ({ code: 200, body })
const patchTypes = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
}

/** Answers everything but watches. Throws ApiError. */
export function answer(parts: Parts, call: Call): Answer {
  const { info } = call
  if (info.plural === '') return answerPath(parts, info)
  const review = info.verb === 'create' ? answerReview(parts, call) : undefined
  if (review !== undefined) return { code: 201, body: review }
  const resource = resourceOf(parts, info)
  const namespace = resource.namespaced ? info.namespace : undefined
  const options = writeOptions(parts, call)
  if (info.verb === 'list')
    return ok(
      list(parts.store, resource, info.query, matcherOf(info.query, resource, namespace)),
    )
  if (info.verb === 'deletecollection') return ok(deleteAll(parts, call, resource))
  if (info.verb === 'create' && info.name === undefined) {
    if (resource.namespaced && namespace === undefined)
      throw badRequest('an empty namespace may not be set during creation')
    const object = objectIn(call)
    return {
      code: 201,
      body: parts.writes.create(resource, namespace, object, options),
    }
  }
  if (info.name === undefined) throw notAllowed()
  const target: Target = {
    ...{ resource, namespace, name: info.name },
    ...(info.subresource === 'status' ? { subresource: 'status' } : {}),
  }
  return answerNamed(parts, call, target, options)
}

function answerNamed(
  parts: Parts,
  call: Call,
  target: Target,
  options: WriteOptions,
): Answer {
  const { info } = call
  const { writes } = parts
  switch (info.verb) {
    case 'get':
      return ok(writes.get(target))
    case 'update':
      return ok(writes.update(target, () => objectIn(call), options))
    case 'patch':
      return patch(parts, call, target, options)
    case 'delete': {
      if (info.subresource !== undefined) throw notAllowed()
      const [object, gone] = writes.delete(target, jsonIn(call), options)
      return ok(gone ? deleted(target, object) : object)
    }
    case 'create':
      if (info.subresource === 'binding')
        return { code: 201, body: bind(parts, call, target, options) }
      if (target.resource.plural !== 'serviceaccounts' || info.subresource !== 'token')
        throw notAllowed()
      return { code: 201, body: parts.tokens.request(writes.get(target), jsonIn(call)) }
    default:
      throw notAllowed()
  }
}

/** Puts a pod on the node that the Binding names. Throws 409 for one that has a node already. */
function bind(parts: Parts, call: Call, target: Target, options: WriteOptions): Json {
  const { target: node } = jsonIn(call) as { target?: { name?: string } }
  if (!node?.name) throw badRequest('target.name is required')
  const { name } = node
  parts.writes.update(
    target,
    (current) => {
      const { nodeName } = current.spec ?? {}
      if (nodeName !== undefined)
        throw conflict(
          target.resource,
          target.name,
          `pod ${target.name} is already assigned to node "${String(nodeName)}"`,
        )
      return { ...current, spec: { ...current.spec, nodeName: name } }
    },
    options,
  )
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }
}

/** The resource of a request. Throws 404 if it, or the subresource, is not served. */
export function resourceOf(parts: Pick<Parts, 'resources'>, info: RequestInfo): Resource {
  const resource = parts.resources.find(info.group, info.version, info.plural)
  if (resource === undefined) throw unknownPath()
  const { subresource } = info
  const isServed =
    subresource === undefined ||
    (subresource === 'status' && resource.hasStatus) ||
    (subresource === 'token' && info.plural === 'serviceaccounts') ||
    (subresource === 'binding' && info.plural === 'pods') ||
    (subresource === 'finalize' && info.plural === 'namespaces')
  if (!isServed) throw unknownPath()
  if (
    !resource.namespaced &&
    info.namespace !== undefined &&
    info.plural !== 'namespaces'
  )
    throw unknownPath()
  return resource
}

const notAllowed = (): ApiError =>
  new ApiError(
    405,
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
  )

function answerPath(parts: Parts, { path }: RequestInfo): Answer {
  if (['/healthz', '/livez', '/readyz'].includes(path)) return ok('ok')
  const resources = parts.resources.all()
  const found = discover(path, resources) ?? openApi(path, resources)
  if (found === undefined) throw unknownPath()
  return ok(found)
}

function patch(parts: Parts, call: Call, target: Target, options: WriteOptions): Answer {
  const { writes } = parts
  switch (call.contentType) {
    case patchTypes.merge: {
      const change = jsonIn(call)
      const next = (current: KubeObject): KubeObject =>
        mergePatch(current, change) as KubeObject
      return ok(writes.update(target, next, options))
    }
    case patchTypes.json: {
      const operations = parsed(call)
      const next = (current: KubeObject): KubeObject =>
        jsonPatch(current, operations) as KubeObject
      return ok(writes.update(target, next, options))
    }
    case patchTypes.apply: {
      if (call.info.query.get('fieldManager') === null)
        throw new ApiError(
          ...([422, 'Invalid'] as const),
          'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        )
      const force = call.info.query.get('force') === 'true'
      const object = objectIn(call)
      if (object.metadata.name !== undefined && object.metadata.name !== target.name)
        throw invalidField(
          ...([target.resource, target.name, 'metadata.name'] as const),
          `Invalid value: "${object.metadata.name}": must be the name on the URL`,
        )
      const result = writes.apply(target, object, { ...options, force })
      return { code: result.created ? 201 : 200, body: result.object }
    }
    default:
      // Strategic merge patch is not treated as a merge patch: it would be wrong for every list by key.
      throw unsupportedMediaType(call.contentType, Object.values(patchTypes).join(', '))
  }
}

function deleteAll(parts: Parts, call: Call, resource: Resource): Json {
  const { query } = call.info
  const namespace = resource.namespaced ? call.info.namespace : undefined
  const result = list(parts.store, resource, query, matcherOf(query, resource, namespace))
  for (const { metadata } of result['items'] as KubeObject[]) {
    const { name, namespace } = metadata
    parts.writes.delete(
      { resource, name, namespace },
      jsonIn(call),
      writeOptions(parts, call),
    )
  }
  return result
}

const deleted = ({ resource, name }: Target, { metadata }: KubeObject): Json => ({
  ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' },
  details: {
    ...{ name, uid: metadata.uid, kind: resource.plural },
    ...(resource.group === '' ? {} : { group: resource.group }),
  },
})
