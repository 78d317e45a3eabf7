// SPDX-License-Identifier: Apache-2.0
// PURE: what an L7Service says of balancing, limits and protection -> Traffic of the contract.
import {
  Algorithm,
  DescriptorSource,
  HashSource,
  LimitScope,
  type Traffic,
} from '@pillion/contract'
import type { TrafficSpec } from '../api/traffic.ts'

const algorithms = {
  LeastRequest: Algorithm.LEAST_REQUEST,
  PeakEWMA: Algorithm.PEAK_EWMA,
  RoundRobin: Algorithm.ROUND_ROBIN,
  Random: Algorithm.RANDOM,
  RingHash: Algorithm.RING_HASH,
  Maglev: Algorithm.MAGLEV,
} as const

const hashSources = {
  SourceAddress: HashSource.ADDRESS,
  Header: HashSource.HEADER,
  Cookie: HashSource.COOKIE,
} as const

const scopes = {
  Service: LimitScope.SERVICE,
  Route: LimitScope.ROUTE,
  Identity: LimitScope.IDENTITY,
} as const

/** With the keys that entries have without one; those that Envoy has as well are Envoy's. */
const descriptorSources = {
  Value: [DescriptorSource.VALUE, 'generic_key'],
  Header: [DescriptorSource.HEADER, ''],
  ServiceAccount: [DescriptorSource.SERVICE_ACCOUNT, 'source_service_account'],
  Namespace: [DescriptorSource.NAMESPACE, 'source_namespace'],
  Workload: [DescriptorSource.WORKLOAD, 'source_workload'],
  Service: [DescriptorSource.SERVICE, 'destination_service'],
  RemoteAddress: [DescriptorSource.REMOTE_ADDRESS, 'remote_address'],
  Path: [DescriptorSource.PATH, 'path'],
  Method: [DescriptorSource.METHOD, 'method'],
} as const

/**
 * undefined when nothing is said: the proxy's defaults apply. `limitPort`: the ServicePort of the rate limit service, '' when
 * the reference is invalid.
 */
export function compileTraffic(
  spec: TrafficSpec,
  limitPort: string,
): Traffic | undefined {
  const { circuitBreaker: breaker, connectionPool: pool, retryThrottling } = spec
  const traffic: Traffic = {
    balancing: spec.loadBalancing && balancingOf(spec.loadBalancing),
    circuitBreaker: breaker && {
      maxConnections: breaker.maxConnections ?? 0,
      maxPendingRequests: breaker.maxPendingRequests ?? 0,
      maxRequests: breaker.maxRequests ?? 0,
      maxRetries: breaker.maxRetries ?? 0,
    },
    outlierEjection: spec.outlierEjection && ejectionOf(spec.outlierEjection),
    rateLimits: spec.rateLimits.map(({ per, requests, interval, burst }) => ({
      scope: scopes[per],
      requests,
      intervalMs: interval,
      burst: burst ?? requests,
    })),
    globalRateLimit: spec.globalRateLimit && limitOf(spec.globalRateLimit, limitPort),
    connectionPool: pool && {
      idleMs: pool.idleTimeout ?? 0,
      maxAgeMs: pool.maxAge ?? 0,
      maxRequests: pool.maxRequestsPerConnection ?? 0,
    },
    faults: spec.faults && faultsOf(spec.faults),
    retryThrottling: retryThrottling && {
      maxTokens: retryThrottling.maxTokens,
      tokenMilli: Math.round(retryThrottling.tokenRatio * 1000),
    },
    hedging: spec.hedging && {
      maxAttempts: spec.hedging.maxAttempts,
      delayMs: spec.hedging.delay,
      nonFatalCodes: spec.hedging.nonFatalCodes,
      nonFatalGrpcCodes: spec.hedging.nonFatalGrpcCodes,
    },
  }
  const said = Object.values(traffic).some((part) =>
    Array.isArray(part) ? part.length > 0 : part !== undefined,
  )
  return said ? traffic : undefined
}

type Part<K extends keyof TrafficSpec> = NonNullable<TrafficSpec[K]>

function balancingOf(spec: Part<'loadBalancing'>): Traffic['balancing'] {
  const { hashOn } = spec
  const name = hashOn?.name ?? ''
  return {
    algorithm: algorithms[spec.algorithm],
    hashSource: hashOn === undefined ? HashSource.UNSPECIFIED : hashSources[hashOn.type],
    // Header names are compared in lower case, cookies as they are.
    hashName: hashOn?.type === 'Header' ? name.toLowerCase() : name,
    preferZone: spec.locality === 'PreferZone',
    slowStartMs: spec.slowStart ?? 0,
  }
}

function ejectionOf(spec: Part<'outlierEjection'>): Traffic['outlierEjection'] {
  return {
    consecutiveErrors: spec.consecutiveErrors,
    consecutiveGatewayErrors: spec.consecutiveGatewayErrors,
    successRate: spec.successRate,
    intervalMs: spec.interval,
    baseEjectionMs: spec.baseEjectionTime,
    maxEjectionMs: spec.maxEjectionTime,
    maxEjectedPercent: spec.maxEjectedPercent,
    panicPercent: spec.panicThresholdPercent,
  }
}

function limitOf(
  spec: Part<'globalRateLimit'>,
  servicePort: string,
): Traffic['globalRateLimit'] {
  return {
    servicePort,
    domain: spec.domain,
    timeoutMs: spec.timeout,
    failClosed: spec.failureMode === 'Closed',
    hits: spec.hits ?? 1,
    descriptors: spec.descriptors.map(({ entries }) => ({
      entries: entries.map(({ type, key, value, name = '' }) => {
        const [source, usual] = descriptorSources[type]
        const header = name.toLowerCase()
        const fallback = usual === '' ? header : usual
        return { source, key: key ?? fallback, text: value ?? header }
      }),
    })),
  }
}

function faultsOf({ delay, abort }: Part<'faults'>): Traffic['faults'] {
  return {
    delayShare: Math.round((delay?.percent ?? 0) * 10_000),
    delayMs: delay?.duration ?? 0,
    abortShare: Math.round((abort?.percent ?? 0) * 10_000),
    abortStatus: abort?.status ?? 0,
    abortGrpcStatus: abort?.grpcStatus ?? 0,
  }
}
