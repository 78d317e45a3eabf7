// SPDX-License-Identifier: Apache-2.0
// Refusals as the API server words them: a `Status` object with code, reason and causes.
import type { Json, Resource } from './types.ts'

/** One field that a refusal names. */
export interface Cause {
  readonly field: string
  readonly message: string
  readonly reason: string
}

/** A refused request. */
export class ApiError extends Error {
  readonly code: number
  readonly reason: string
  readonly details: Json | undefined

  constructor(code: number, reason: string, message: string, details?: Json) {
    super(message)
    this.code = code
    this.reason = reason
    this.details = details
  }

  /** The body of the answer. */
  status(): Json {
    const details = this.details === undefined ? {} : { details: this.details }
    return {
      ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure' },
      ...{ message: this.message, reason: this.reason, ...details, code: this.code },
    }
  }
}

/** `pods` or `deployments.apps`, as messages name a resource. */
export const qualified = (resource: Pick<Resource, 'group' | 'plural'>): string =>
  resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`

const detailsOf = (resource: Pick<Resource, 'group' | 'plural'>, name: string): Json => ({
  name,
  ...(resource.group === '' ? {} : { group: resource.group }),
  kind: resource.plural,
})

type Named = Pick<Resource, 'group' | 'plural'>

export const badRequest = (message: string): ApiError =>
  new ApiError(400, 'BadRequest', message)

export const notFound = (resource: Named, name: string): ApiError =>
  new ApiError(
    ...([404, 'NotFound', `${qualified(resource)} "${name}" not found`] as const),
    detailsOf(resource, name),
  )

/** An unknown path, or a kind that is not served (yet, or any more). */
export const unknownPath = (): ApiError =>
  new ApiError(404, 'NotFound', 'the server could not find the requested resource', {})

export const alreadyExists = (resource: Named, name: string): ApiError =>
  new ApiError(
    ...([
      409,
      'AlreadyExists',
      `${qualified(resource)} "${name}" already exists`,
    ] as const),
    detailsOf(resource, name),
  )

/** Optimistic concurrency, or a precondition, failed. */
export const conflict = (resource: Named, name: string, why: string): ApiError =>
  new ApiError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`,
    detailsOf(resource, name),
  )

export const modified =
  'the object has been modified; please apply your changes to the latest version and try again'

export const invalid = (
  resource: Resource,
  name: string,
  causes: readonly Cause[],
): ApiError => {
  const kind =
    resource.group === '' ? resource.kind : `${resource.kind}.${resource.group}`
  const all = causes.map((cause) => `${cause.field}: ${cause.message}`)
  const what = all.length === 1 ? all[0] : `[${all.join(', ')}]`
  return new ApiError(422, 'Invalid', `${kind} "${name}" is invalid: ${what}`, {
    ...{ ...detailsOf(resource, name), kind: resource.kind },
    causes,
  })
}

/** One invalid field. */
export const invalidField = (
  resource: Resource,
  name: string,
  field: string,
  message: string,
): ApiError => invalid(resource, name, [{ field, message, reason: 'FieldValueInvalid' }])

/** The revision is compacted away (410): list again. */
export const expired = (message: string, continueToken?: string): ApiError => {
  const error = new ApiError(410, 'Expired', message)
  if (continueToken === undefined) return error
  return new (class extends ApiError {
    override status(): Json {
      return { ...super.status(), metadata: { continue: continueToken } }
    }
  })(410, 'Expired', message)
}

export const forbidden = (message: string, details: Json = {}): ApiError =>
  new ApiError(403, 'Forbidden', message, details)

export const unsupportedMediaType = (type: string, accepted: string): ApiError =>
  new ApiError(
    ...([415, 'UnsupportedMediaType'] as const),
    `the body of the request was in an unknown format - accepted media types include: ${accepted} (got ${type})`,
  )
