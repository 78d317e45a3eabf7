// SPDX-License-Identifier: Apache-2.0
// What the server does to an object on its way into the store: checks, defaults, generation, ownership. No I/O.
import { randomBytes, randomUUID } from 'node:crypto'
import { hasGeneration, needsRevision } from './defaults.ts'
import { badRequest, conflict, invalidField, modified } from './errors.ts'
import { canonical } from './fieldset.ts'
import { apiVersionOf, type KubeObject, type Resource } from './types.ts'

/** The time as Kubernetes writes it: seconds, UTC. */
export const now = (): string => new Date().toISOString().replace(/\.\d+Z$/, 'Z')

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

function checkIdentity(
  resource: Resource,
  object: KubeObject,
  namespace: string | undefined,
): void {
  const apiVersion = apiVersionOf(resource.group, resource.version)
  if (object.apiVersion !== apiVersion || object.kind !== resource.kind)
    throw badRequest(
      `the object provided is ${object.apiVersion} ${object.kind}, which is not what this path serves: ${apiVersion} ${resource.kind}`,
    )
  const own = object.metadata.namespace
  if (resource.namespaced && own !== undefined && own !== '' && own !== namespace)
    throw badRequest(
      `the namespace of the provided object does not match the namespace sent on the request (${own}, ${namespace})`,
    )
}

function checkName(resource: Resource, name: string): void {
  // RBAC names are path segments: `system:node` is one.
  if (resource.group === 'rbac.authorization.k8s.io' && !/[/%]/.test(name)) return
  if (name.length > 253 || !subdomain.test(name))
    throw invalidField(
      ...([resource, name, 'metadata.name'] as const),
      `Invalid value: "${name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`,
    )
}

/** A new object, ready but for defaults, validation and ownership. */
export function newObject(
  resource: Resource,
  object: KubeObject,
  namespace: string | undefined,
): KubeObject {
  checkIdentity(resource, object, namespace)
  const { metadata } = object
  const generated =
    metadata.generateName === undefined || metadata.generateName === ''
      ? ''
      : metadata.generateName + randomBytes(4).toString('hex').slice(0, 5)
  const name = (metadata.name as string | undefined) || generated
  if (name === '')
    throw invalidField(
      ...([resource, '', 'metadata.name'] as const),
      'Required value: name or generateName is required',
    )
  checkName(resource, name)
  if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== '')
    throw badRequest('resourceVersion should not be set on objects to be created')
  const { deletionTimestamp: _1, deletionGracePeriodSeconds: _2, ...rest } = metadata
  const created: KubeObject = {
    ...object,
    metadata: {
      ...rest,
      name,
      ...(resource.namespaced && namespace !== undefined ? { namespace } : {}),
      uid: randomUUID(),
      creationTimestamp: now(),
      ...(hasGeneration(resource) ? { generation: 1 } : {}),
    },
  }
  if (!resource.namespaced) delete created.metadata.namespace
  if (!hasGeneration(resource)) delete created.metadata.generation
  if (resource.hasStatus) delete created.status
  return created
}

const withoutMeta = (resource: Resource, object: KubeObject): unknown => {
  const { metadata: _1, status, ...rest } = object
  return resource.hasStatus ? rest : { ...rest, status }
}

/**
 * `incoming` as the next state of `current`: what a client cannot change is as before, `/status` changes only the status
 * and the main resource never does, the generation counts changes of intent.
 */
export function nextObject(
  resource: Resource,
  current: KubeObject,
  incoming: KubeObject,
  subresource: string | undefined,
): KubeObject {
  const { name, namespace } = current.metadata
  checkIdentity(resource, incoming, namespace)
  const sent = incoming.metadata
  if (sent.name !== name)
    throw badRequest(
      `the name of the object (${sent.name}) does not match the name on the URL (${name})`,
    )
  if (sent.resourceVersion === undefined || sent.resourceVersion === '') {
    if (needsRevision(resource))
      throw invalidField(
        ...([resource, name, 'metadata.resourceVersion'] as const),
        'Invalid value: 0: must be specified for an update',
      )
  } else if (sent.resourceVersion !== current.metadata.resourceVersion)
    throw conflict(resource, name, modified)
  if (sent.uid !== undefined && sent.uid !== current.metadata.uid)
    throw conflict(
      ...([resource, name] as const),
      `Precondition failed: UID in precondition: ${sent.uid}, UID in object meta: ${current.metadata.uid}`,
    )
  return subresource === 'status'
    ? nextStatus(current, incoming)
    : nextIntent(resource, current, incoming)
}

function nextStatus(current: KubeObject, incoming: KubeObject): KubeObject {
  const next = { ...current }
  if (incoming.status === undefined) delete next.status
  else next.status = incoming.status
  return next
}

function nextIntent(
  resource: Resource,
  current: KubeObject,
  incoming: KubeObject,
): KubeObject {
  const was = current.metadata
  const metadata = { ...incoming.metadata }
  const fixed = [
    ...['uid', 'creationTimestamp', 'deletionTimestamp', 'deletionGracePeriodSeconds'],
    ...['generation', 'namespace', 'managedFields', 'resourceVersion', 'generateName'],
  ]
  for (const field of fixed) {
    if (was[field] === undefined) delete metadata[field]
    else metadata[field] = was[field]
  }
  const added = (metadata.finalizers ?? []).filter((f) => !was.finalizers?.includes(f))
  if (was.deletionTimestamp !== undefined && added.length > 0)
    throw invalidField(
      ...([resource, was.name, 'metadata.finalizers'] as const),
      `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
    )
  const next: KubeObject = { ...incoming, metadata }
  if (resource.hasStatus) {
    if (current.status === undefined) delete next.status
    else next.status = current.status
  }
  const changed =
    canonical(withoutMeta(resource, current)) !== canonical(withoutMeta(resource, next))
  if (changed && was.generation !== undefined) metadata.generation = was.generation + 1
  return next
}
