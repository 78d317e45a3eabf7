// SPDX-License-Identifier: Apache-2.0
// PURE. What a rate limit service is asked about a request: lists of keys and values (envoy.service.ratelimit.v3).
import {
  type DescriptorEntry,
  DescriptorSource,
  type GlobalRateLimit,
} from '@pillion/contract'
import type { Client } from '../config/clients.ts'
import type { RateLimitDescriptor } from '../gen/envoy/service/ratelimit/v3/rls.ts'
import { type Headers, joinedHeader } from '../headers.ts'

/** Of a value; the rest is cut off. What strangers write into a header must not grow calls and counters without bound. */
export const maxValueLength = 1024

/** What entries are made of. */
export type LimitFacts = {
  readonly client: Pick<Client, 'namespace' | 'serviceAccount' | 'labels' | 'address'>
  /** ServicePort that was asked for: "shop/web:80/TCP". */
  readonly service: string
  readonly method: string
  /** Normalised, possibly with a query. */
  readonly path: string
  readonly authority: string
  readonly headers: Headers
}

/** Those of which every entry has a value; as with Envoy's actions, one without it skips its descriptor and no other. */
export function descriptorsOf(
  { descriptors }: Pick<GlobalRateLimit, 'descriptors'>,
  facts: LimitFacts,
): RateLimitDescriptor[] {
  const asked: RateLimitDescriptor[] = []
  for (const { entries } of descriptors) {
    const pairs: RateLimitDescriptor['entries'] = []
    for (const entry of entries) {
      const value = valueOf(entry, facts)
      if (value === undefined || value === '') break
      pairs.push({ key: entry.key, value: value.slice(0, maxValueLength) })
    }
    if (pairs.length === entries.length) asked.push({ entries: pairs })
  }
  return asked
}

/** '' or undefined: there is none. */
function valueOf(
  { source, text }: DescriptorEntry,
  facts: LimitFacts,
): string | undefined {
  const { client } = facts
  switch (source) {
    case DescriptorSource.VALUE:
      return text
    case DescriptorSource.HEADER:
      return text === 'host' ? facts.authority : joinedHeader(facts.headers, text)
    case DescriptorSource.SERVICE_ACCOUNT:
      return qualified(client.namespace, client.serviceAccount)
    case DescriptorSource.NAMESPACE:
      return client.namespace
    case DescriptorSource.WORKLOAD:
      return qualified(client.namespace, client.labels.workload)
    case DescriptorSource.SERVICE:
      return facts.service.slice(0, facts.service.lastIndexOf(':'))
    case DescriptorSource.REMOTE_ADDRESS:
      return client.address
    case DescriptorSource.PATH:
      return facts.path.split('?', 1)[0]
    case DescriptorSource.METHOD:
      return facts.method
    case DescriptorSource.UNSPECIFIED:
      // A newer operator's source: unknown is absent.
      return undefined
  }
}

/** As labels of metrics have them, "unknown" is nobody's name. */
function qualified(namespace: string, name: string): string {
  return namespace === '' || name === '' || name === 'unknown'
    ? ''
    : `${namespace}/${name}`
}
