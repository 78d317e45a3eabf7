// SPDX-License-Identifier: Apache-2.0
// How an L7Service balances, limits and protects. Whatever is counted is counted by each node for itself, by each worker of
// its proxy: no request waits for another node, but with globalRateLimit for who counts for all.
import { z } from 'zod'
import { headerName } from './route-filter.ts'
import { ruled } from './rule.ts'
import { grpcCodes } from '@pillion/contract'
import { dnsName, duration, list, portNumber, set } from './scalar.ts'

const count = z.int().min(1).max(1_000_000)
const percent = z.int().min(0).max(100)

/** A time that is used by a clock of ours: neither nothing nor for ever. */
const interval = ruled(duration, {
  cel: "duration(self) >= duration('10ms') && duration(self) <= duration('24h')",
  holds: (ms) => ms >= 10 && ms <= 86_400_000,
  message: 'must be from 10ms to 24h',
})

const hashOn = ruled(
  z.strictObject({
    type: z
      .enum(['SourceAddress', 'Header', 'Cookie'])
      .describe(
        'What requests of the same value to the same endpoint have in common. A request without it goes anywhere.',
      ),
    // Names of headers and cookies are tokens (RFC 9110 5.1, RFC 6265 4.1.1).
    name: z
      .string()
      .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, {
        error: 'must be the name of a header or cookie',
      })
      .optional()
      .describe('Name of the header or cookie.'),
  }),
  {
    cel: "has(self.name) == (self.type != 'SourceAddress')",
    holds: ({ type, name }) => (name !== undefined) === (type !== 'SourceAddress'),
    message: 'is for Header and Cookie, and needed there',
    path: ['name'],
  },
)

const isHash = (algorithm: string): boolean =>
  algorithm === 'RingHash' || algorithm === 'Maglev'

export const loadBalancing = ruled(
  z.strictObject({
    algorithm: z
      .enum(['LeastRequest', 'PeakEWMA', 'RoundRobin', 'Random', 'RingHash', 'Maglev'])
      .default('LeastRequest')
      .describe(
        'LeastRequest: of two at random the less busy. PeakEWMA: of two at random the one that answers sooner. RoundRobin, Random. RingHash, Maglev: by hashOn; when endpoints come or go few clients move.',
      ),
    hashOn: hashOn.optional().describe('What RingHash and Maglev go by.'),
    locality: z
      .enum(['None', 'PreferZone'])
      .default('None')
      .describe(
        'PreferZone: endpoints in the zone of the client, while there is one that can be used.',
      ),
    slowStart: interval
      .optional()
      .describe(
        'Time in which the share of a new endpoint grows from a tenth to the full. Absent: the full at once.',
      ),
  }),
  {
    cel: "has(self.hashOn) == (has(self.algorithm) && self.algorithm in ['RingHash', 'Maglev'])",
    holds: ({ algorithm, hashOn: on }) => (on !== undefined) === isHash(algorithm),
    message: 'is for RingHash and Maglev, and needed there',
    path: ['hashOn'],
  },
  {
    cel: "!has(self.slowStart) || !has(self.algorithm) || !(self.algorithm in ['RingHash', 'Maglev'])",
    holds: ({ algorithm, slowStart }) => slowStart === undefined || !isHash(algorithm),
    message: 'does not go with RingHash and Maglev: clients would move while it lasts',
    path: ['slowStart'],
  },
)

export const circuitBreaker = z.strictObject({
  maxConnections: count
    .optional()
    .describe('Connections from a node to the Service. Absent: no limit.'),
  maxPendingRequests: count
    .optional()
    .describe('Requests of a node that wait for a connection. Absent: no limit.'),
  maxRequests: count
    .optional()
    .describe('Requests of a node in flight. Absent: no limit.'),
  maxRetries: count
    .optional()
    .describe('Retries of a node in flight. Absent: no limit but the retry budget.'),
})

const successRate = z.strictObject({
  minEndpoints: z
    .int()
    .min(2)
    .max(10_000)
    .default(5)
    .describe('Endpoints with enough requests that it takes to compare them.'),
  minRequests: count
    .default(100)
    .describe('Requests to an endpoint in the interval that are enough.'),
  deviationsPercent: z
    .int()
    .min(1)
    .max(10_000)
    .default(190)
    .describe(
      'Distance below the mean at which an endpoint is ejected, in hundredths of the standard deviation.',
    ),
})

export const outlierEjection = z.strictObject({
  consecutiveErrors: z
    .int()
    .min(0)
    .max(10_000)
    .default(5)
    .describe('Answers 5xx, or none, in a row that eject an endpoint; 0: never.'),
  consecutiveGatewayErrors: z
    .int()
    .min(0)
    .max(10_000)
    .default(0)
    .describe('Answers 502, 503, 504, or none, in a row that do; 0: never.'),
  successRate: successRate
    .optional()
    .describe('Ejects endpoints that fail more often than the others. Absent: never.'),
  interval: interval
    .prefault('10s')
    .describe('Time over which success rates are compared, 10ms to 24h.'),
  baseEjectionTime: interval
    .prefault('30s')
    .describe('Length of the first ejection; the n-th lasts n times as long.'),
  maxEjectionTime: interval.prefault('300s').describe('Longest ejection.'),
  maxEjectedPercent: percent
    .default(10)
    .describe(
      'Share of the endpoints that is ejected at a time, at most; of two or more endpoints always one.',
    ),
  panicThresholdPercent: percent
    .default(50)
    .describe(
      'When fewer of the endpoints are left than this, ejections are ignored: all in trouble is no reason to overload the rest.',
    ),
})

const rateLimit = z.strictObject({
  per: z
    .enum(['Service', 'Route', 'Identity'])
    .default('Service')
    .describe(
      'What has a limit of its own: the Service, each rule of its routes, or each identity of clients.',
    ),
  requests: count.describe('Requests of a node in the interval.'),
  interval: interval.prefault('1s').describe('The interval, 10ms to 24h.'),
  burst: count
    .optional()
    .describe('Requests at once after silence. Absent: as many as requests.'),
})

export const rateLimits = list(rateLimit, 8)

/** No request may hang on a service that only counts. */
const callTimeout = ruled(duration, {
  cel: "duration(self) >= duration('1ms') && duration(self) <= duration('10s')",
  holds: (ms) => ms >= 1 && ms <= 10_000,
  message: 'must be from 1ms to 10s',
})

const descriptorEntry = ruled(
  z.strictObject({
    type: z
      .enum([
        ...(['Value', 'Header', 'ServiceAccount', 'Namespace', 'Workload'] as const),
        ...(['Service', 'RemoteAddress', 'Path', 'Method'] as const),
      ])
      .describe(
        'Where the value comes from. Value: a fixed one. Header: of the request. ServiceAccount, Namespace, Workload: the client, as "namespace/name" or the namespace. Service: the Service that was asked, as "namespace/name". RemoteAddress: of the client. Path: normalised, without query. Method.',
      ),
    key: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .describe(
        'Key of the entry. Absent: generic_key of a Value, the name of a Header in lower case; else source_service_account, source_namespace, source_workload, destination_service, remote_address, path or method.',
      ),
    value: z.string().min(1).max(1024).optional().describe('The value, of type Value.'),
    name: headerName
      .optional()
      .describe('Name of the header, of type Header; "host" is what was asked for.'),
  }),
  {
    cel: "has(self.value) == (self.type == 'Value')",
    holds: ({ type, value }) => (value !== undefined) === (type === 'Value'),
    message: 'is for Value, and needed there',
    path: ['value'],
  },
  {
    cel: "has(self.name) == (self.type == 'Header')",
    holds: ({ type, name }) => (name !== undefined) === (type === 'Header'),
    message: 'is for Header, and needed there',
    path: ['name'],
  },
)

const descriptor = z.strictObject({
  entries: z
    .array(descriptorEntry)
    .min(1)
    .max(8)
    .describe('Pairs of key and value, in the order in which the service knows them.'),
})

const globalRateLimit = z.strictObject({
  service: z
    .strictObject({
      namespace: dnsName
        .optional()
        .describe('Namespace of the Service. Absent: that of this object.'),
      name: dnsName.describe('Name of the Service.'),
      port: portNumber.describe('Number of its port.'),
    })
    .describe(
      'The rate limit service: whatever speaks the gRPC protocol of Envoy (envoy.service.ratelimit.v3).',
    ),
  domain: z
    .string()
    .min(1)
    .max(253)
    .describe('Under which the service knows the descriptors.'),
  timeout: callTimeout
    .prefault('50ms')
    .describe('How long a request waits for its answer, 1ms to 10s.'),
  failureMode: z
    .enum(['Open', 'Closed'])
    .default('Open')
    .describe(
      'Requests that the service does not answer about are let through (Open) or get 503 (Closed).',
    ),
  hits: count.optional().describe('What a request counts. Absent: 1.'),
  descriptors: z
    .array(descriptor)
    .min(1)
    .max(8)
    .describe(
      'What the service is asked about; over the limit of one is over the limit. A descriptor is left out when something of it is not there; without any the service is not asked.',
    ),
})

export const connectionPool = z.strictObject({
  idleTimeout: interval
    .optional()
    .describe('Connections without a request are closed after it. Absent: 60s.'),
  maxAge: interval
    .optional()
    .describe('Connections older than it take no new requests. Absent: no limit.'),
  maxRequestsPerConnection: count
    .optional()
    .describe('Requests that a connection carries. Absent: no limit.'),
})

/** Percent with up to four decimals: "0.1" of a percent is a common share. */
const share = z.number().min(0).max(100)

export const faults = z.strictObject({
  delay: z
    .strictObject({
      percent: share.describe('Share of the requests, 0 to 100.'),
      duration: interval.describe('How long they wait.'),
    })
    .optional()
    .describe('Requests that wait before they are sent.'),
  abort: z
    .strictObject({
      percent: share.describe('Share of the requests, 0 to 100.'),
      status: z
        .int()
        .min(400)
        .max(599)
        .default(503)
        .describe('HTTP status of the answer, 400 to 599.'),
      grpcStatus: z
        .int()
        .min(1)
        .max(16)
        .default(14)
        .describe('Number of the gRPC status that calls of gRPC get, 1 to 16.'),
    })
    .optional()
    .describe('Requests that are answered with an error and not sent.'),
})

export const retryThrottling = z.strictObject({
  maxTokens: z
    .int()
    .min(1)
    .max(1000)
    .default(10)
    .describe(
      'Tokens at the start. A failed call takes one; below half of them nothing is retried.',
    ),
  tokenRatio: z
    .number()
    .min(0.001)
    .max(1000)
    .default(0.1)
    .describe('Tokens that a successful call gives back; three decimals count.'),
})

export const hedging = z.strictObject({
  maxAttempts: z
    .int()
    .min(2)
    .max(5)
    .default(2)
    .describe('Attempts of a request, the first included, 2 to 5.'),
  delay: ruled(duration, {
    cel: "duration(self) <= duration('1h')",
    holds: (ms) => ms <= 3_600_000,
    message: 'must be at most 1h',
  }).describe(
    'Time without an answer after which the next attempt goes out; "0s": all at once. Close to what 95 of 100 requests take, 5 of 100 are sent twice.',
  ),
  nonFatalCodes: set(z.int().min(400).max(599), 200).describe(
    'HTTP status codes of an answer that another attempt may better: the next goes out at once.',
  ),
  nonFatalGrpcCodes: set(z.enum(grpcCodes), grpcCodes.length).describe(
    'gRPC status codes of such an answer (nonFatalStatusCodes of gRFC A6).',
  ),
})

/** The fields of an L7Service about this. */
export const trafficFields = {
  loadBalancing: loadBalancing
    .optional()
    .describe('How endpoints are chosen. Absent: LeastRequest.'),
  circuitBreaker: circuitBreaker
    .optional()
    .describe('Limits beyond which requests get 503 at once. Absent: no limits.'),
  outlierEjection: outlierEjection
    .optional()
    .describe('Keeps requests away from endpoints that fail. Absent: never.'),
  rateLimits: rateLimits.describe(
    'Limits of requests over time; beyond one of them the answer is 429. Absent: none.',
  ),
  globalRateLimit: globalRateLimit
    .optional()
    .describe(
      'Limits that a service counts for the whole cluster; asked after rateLimits, beyond them the answer is 429. Absent: none.',
    ),
  connectionPool: connectionPool
    .optional()
    .describe('How long connections to endpoints are kept.'),
  retryThrottling: retryThrottling
    .optional()
    .describe(
      'Stops retries of gRPC calls while most calls fail (gRFC A6). Absent: only the retry budget does.',
    ),
  hedging: hedging
    .optional()
    .describe(
      'Sends a request that is not answered in time to another endpoint as well; the first answer counts. For gRPC calls, all of which must bear to be made twice, and idempotent methods of HTTP, where a route has no retries of its own. Absent: never.',
    ),
  faults: faults
    .optional()
    .describe('Failures on purpose, to test how clients bear them. Absent: none.'),
}

const traffic = z.object(trafficFields)
export type TrafficSpec = z.output<typeof traffic>
