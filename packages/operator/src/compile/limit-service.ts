// SPDX-License-Identifier: Apache-2.0
// PURE: the rate limit service that an L7Service refers to.
import type { ApiObject } from '../api/object.ts'
import type { Snapshot } from '../index/objects.ts'
import type { Condition } from './condition.ts'
import { servicePortName } from './parents.ts'
import { missingService, noPort } from './wording.ts'

/** `servicePort` is '' when the reference is invalid; the condition says why, and what it costs. */
export interface LimitService {
  readonly servicePort: string
  readonly condition: Condition
}

/** undefined: it refers to none. */
export function limitServiceOf(
  snapshot: Snapshot,
  { metadata, spec }: ApiObject<'L7Service'>,
): LimitService | undefined {
  const limit = spec.globalRateLimit
  if (limit === undefined) return undefined
  const wanted = limit.service
  const name = `${wanted.namespace ?? metadata.namespace}/${wanted.name}`
  const service = snapshot.Service.get(name)
  const port = service?.spec.ports.find(
    (each) => each.port === wanted.port && each.protocol === 'TCP',
  )
  const problem =
    service === undefined
      ? missingService(name)
      : service.spec.type === 'ExternalName'
        ? `Service ${name} is of type ExternalName`
        : port === undefined
          ? noPort(service, wanted.port)
          : undefined
  if (service === undefined || port === undefined || problem !== undefined) {
    const cost =
      limit.failureMode === 'Closed'
        ? 'its requests get 503'
        : 'its requests are not limited by it'
    const message = `spec.globalRateLimit.service: ${problem}; ${cost}`
    const reason = 'BackendNotFound'
    return {
      servicePort: '',
      condition: { type: 'ResolvedRefs', status: 'False', reason, message },
    }
  }
  return {
    servicePort: servicePortName(service, port),
    condition: {
      type: 'ResolvedRefs',
      status: 'True',
      reason: 'ResolvedRefs',
      message: 'the rate limit service exists',
    },
  }
}
