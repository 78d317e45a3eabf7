// SPDX-License-Identifier: Apache-2.0
// Objects of our kinds that are valid, and such as are refused, with the field that is to blame.
import type { RawObject } from '../../src/api/object.ts'

type Kind = 'Mesh' | 'L7Service' | 'AccessPolicy'

const object = (kind: Kind, spec: unknown, name = 'default'): RawObject => ({
  apiVersion: 'mesh.pillion.dev/v1alpha1',
  kind,
  metadata: { name },
  spec,
})

export const l7 = (rest: object): RawObject =>
  object('L7Service', { targetRef: { name: 'web' }, protocol: 'http', ...rest })
const access = (rule: object): RawObject =>
  object('AccessPolicy', { rules: [{ from: [{ podSelector: {} }], ...rule }] })
const from = (peer: object): RawObject => access({ from: [peer] })
const port = (value: object): RawObject => access({ ports: [value] })
const selector = (value: object): RawObject => object('AccessPolicy', { selector: value })
const expression = (operator: string, values?: string[]): RawObject =>
  selector({ matchExpressions: [{ key: 'app', operator, ...(values && { values }) }] })
const http = (condition: object): RawObject => access({ http: [condition] })
const path = (value: string): RawObject => http({ paths: [{ value }] })
const jwks = (value: object): RawObject =>
  object('AccessPolicy', { jwt: [{ issuer: 'https://a.example', jwks: value }] })
const many = <T>(count: number, of: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => of(i))
const labels = (count: number): object =>
  Object.fromEntries(many(count, (i) => [`l${i}`, 'x']))

const balancing = (value: object): RawObject => l7({ loadBalancing: value })
const globalLimit = (entry: object, rest: object = {}): RawObject =>
  l7({
    globalRateLimit: {
      ...{ service: { name: 'limits', port: 8081 }, domain: 'shop' },
      ...{ descriptors: [{ entries: [entry] }], ...rest },
    },
  })

export const valid: readonly RawObject[] = [
  object('Mesh', {}),
  object('Mesh', { tracing: {}, acceleration: 'Off', failureMode: 'Reject' }),
  object('Mesh', { tracing: { sampleRatio: 1 } }),
  l7({}),
  l7({ targetRef: { name: 'web', port: 65_535, group: '', kind: 'Service' } }),
  l7({ timeouts: { request: '0s', backendRequest: '10s' } }),
  l7({ timeouts: { request: '1m', backendRequest: '59s999ms' } }),
  l7({ timeouts: { backendRequest: '99999h' } }),
  l7({ retries: { attempts: 0, codes: [], grpcCodes: null } }),
  l7({ retryBudget: { interval: '1h', minRetryRate: { interval: '1000ms' } } }),
  balancing({}),
  balancing({ algorithm: 'Maglev', hashOn: { type: 'SourceAddress' } }),
  balancing({ algorithm: 'RingHash', hashOn: { type: 'Header', name: 'X-User' } }),
  l7({
    rateLimits: [
      { requests: 1, interval: '10ms' },
      { requests: 1, burst: 9 },
    ],
  }),
  l7({ outlierEjection: { successRate: {} }, circuitBreaker: {}, connectionPool: {} }),
  l7({ faults: { abort: { percent: 0.0001 } }, retryThrottling: {} }),
  l7({ hedging: { delay: '0s' } }),
  l7({
    hedging: { maxAttempts: 5, delay: '1h', nonFatalCodes: [503] },
    retryThrottling: {},
  }),
  globalLimit({ type: 'Header', name: 'X-User', key: 'user' }, { timeout: '10s' }),
  globalLimit({ type: 'Value', value: 'a b' }, { failureMode: 'Closed', hits: 3 }),
  globalLimit({ type: 'Path' }, { service: { namespace: 'ops', name: 'a', port: 1 } }),
  l7({ filters: [{ name: 'a', config: { any: [null, { deep: 1 }] }, timeout: '30s' }] }),
  object('Mesh', { filters: { configMap: 'filters', secret: 'keys' } }),
  object('AccessPolicy', {}),
  object('AccessPolicy', { rules: null }),
  selector({ matchLabels: labels(16) }),
  selector({ matchLabels: { 'example.com/a_b': '', 'a.b': 'C-d' } }),
  expression('In', ['', 'a']),
  expression('Exists', []),
  from({ namespaceSelector: {} }),
  from({ serviceAccounts: ['shop/web'] }),
  access({ from: many(64, () => ({ podSelector: {} })) }),
  port({ port: 'http-2' }),
  port({ port: 80, endPort: 80, protocol: 'UDP' }),
  http({}),
  http({ methods: ['GET', 'M-SEARCH'], headers: [{ name: 'X-A' }], token: true }),
  http({ claims: [{ claim: ['https://a.example/roles'], values: ['a b'] }] }),
  ...['/', '/a', '/a/', '/a/..b', '/.well-known/x', '/...', '/a%2Fb', '/a.b/c'].map(path),
  jwks({ inline: '{}' }),
  jwks({ uri: 'https://a.example:8443/keys?x=1' }),
  jwks({ file: 'a.json' }),
  object('Mesh', {
    tracing: { collector: 'http://[::1]:4318' },
    accessLogSampleRatio: 0,
  }),
]

const budget = (value: object): RawObject => l7({ retryBudget: value })
const retries = (value: object): RawObject => l7({ retries: { attempts: 1, ...value } })

/** Refused by types, patterns, bounds, enumerations and list types. */
export const refusedBySchema: readonly (readonly [RawObject, string])[] = [
  [object('Mesh', undefined), 'spec'],
  [object('Mesh', { failureMode: 'Hold' }), 'spec.failureMode'],
  // What YAML 1.1 makes of an unquoted Off.
  [object('Mesh', { acceleration: false }), 'spec.acceleration'],
  [object('Mesh', { tracing: { sampleRatio: 1.5 } }), 'spec.tracing.sampleRatio'],
  [object('Mesh', { accessLog: 'yes' }), 'spec.accessLog'],
  [object('L7Service', { protocol: 'http' }), 'spec.targetRef'],
  [object('L7Service', { targetRef: { name: 'web' } }), 'spec.protocol'],
  [l7({ protocol: 'tcp' }), 'spec.protocol'],
  [l7({ targetRef: { name: 'Web' } }), 'spec.targetRef.name'],
  [l7({ targetRef: { name: 'web', kind: 'Pod' } }), 'spec.targetRef.kind'],
  [l7({ targetRef: { name: 'web', port: 0 } }), 'spec.targetRef.port'],
  [l7({ targetRef: { name: 'web', port: 80.5 } }), 'spec.targetRef.port'],
  [l7({ timeouts: { request: '1.5s' } }), 'spec.timeouts.request'],
  [l7({ timeouts: { request: 10 } }), 'spec.timeouts.request'],
  [l7({ retries: {} }), 'spec.retries.attempts'],
  [balancing({ algorithm: 'Fastest' }), 'spec.loadBalancing.algorithm'],
  [
    balancing({ algorithm: 'RingHash', hashOn: { type: 'Cookie', name: 'a b' } }),
    'spec.loadBalancing.hashOn.name',
  ],
  [l7({ circuitBreaker: { maxRequests: 0 } }), 'spec.circuitBreaker.maxRequests'],
  [l7({ rateLimits: [{ interval: '1s' }] }), 'spec.rateLimits[0].requests'],
  [l7({ faults: { abort: { percent: 101 } } }), 'spec.faults.abort.percent'],
  [globalLimit({}), 'spec.globalRateLimit.descriptors[0].entries[0].type'],
  [globalLimit({ type: 'Path' }, { domain: '' }), 'spec.globalRateLimit.domain'],
  [
    globalLimit({ type: 'Path' }, { descriptors: [] }),
    'spec.globalRateLimit.descriptors',
  ],
  [
    globalLimit({ type: 'Path' }, { service: { name: 'limits' } }),
    'spec.globalRateLimit.service.port',
  ],
  [retries({ attempts: 101 }), 'spec.retries.attempts'],
  [retries({ codes: [200] }), 'spec.retries.codes[0]'],
  [retries({ codes: [503, 503] }), 'spec.retries.codes'],
  [retries({ grpcCodes: ['OK'] }), 'spec.retries.grpcCodes[0]'],
  [retries({ backoff: '-1s' }), 'spec.retries.backoff'],
  [retries({ perTryTimeout: '1d' }), 'spec.retries.perTryTimeout'],
  [l7({ hedging: {} }), 'spec.hedging.delay'],
  [l7({ hedging: { delay: '1s', maxAttempts: 6 } }), 'spec.hedging.maxAttempts'],
  [
    l7({ hedging: { delay: '1s', nonFatalGrpcCodes: ['OK'] } }),
    'spec.hedging.nonFatalGrpcCodes[0]',
  ],
  [l7({ filters: [{ name: '../a' }] }), 'spec.filters[0].name'],
  [l7({ filters: [{ name: 'a', config: 'b' }] }), 'spec.filters[0].config'],
  [l7({ filters: many(9, () => ({ name: 'a' })) }), 'spec.filters'],
  [budget({ percent: 101 }), 'spec.retryBudget.percent'],
  [budget({ minRetryRate: { count: -1 } }), 'spec.retryBudget.minRetryRate.count'],
  [object('AccessPolicy', { action: 'Audit' }), 'spec.action'],
  [object('AccessPolicy', { rules: [{}] }), 'spec.rules[0].from'],
  [access({ from: [] }), 'spec.rules[0].from'],
  [access({ from: many(65, () => ({ podSelector: {} })) }), 'spec.rules[0].from'],
  [access({ ports: many(65, () => ({ port: 1 })) }), 'spec.rules[0].ports'],
  [from({ serviceAccounts: [] }), 'spec.rules[0].from[0].serviceAccounts'],
  [from({ serviceAccounts: ['web'] }), 'spec.rules[0].from[0].serviceAccounts[0]'],
  [from({ serviceAccounts: ['a/b', 'a/b'] }), 'spec.rules[0].from[0].serviceAccounts'],
  ...[
    'a',
    '//',
    '/a//b',
    '/.',
    '/a/..',
    '/a/../b',
    '/./a',
    '/a b',
    '/%2f',
    '/a?b',
    '/a;b',
  ].map((text) => [path(text), 'spec.rules[0].http[0].paths[0].value'] as const),
  [http({ methods: ['GE T'] }), 'spec.rules[0].http[0].methods[0]'],
  [http({ headers: [{ name: 'a:' }] }), 'spec.rules[0].http[0].headers[0].name'],
  [http({ claims: [{ claim: [] }] }), 'spec.rules[0].http[0].claims[0].claim'],
  [jwks({ uri: 'http://a.example/' }), 'spec.jwt[0].jwks.uri'],
  [jwks({ file: '../a' }), 'spec.jwt[0].jwks.file'],
  [
    object('AccessPolicy', {
      jwt: [{ issuer: 'a', jwks: { file: 'a' }, algorithms: ['HS256'] }],
    }),
    'spec.jwt[0].algorithms[0]',
  ],
  [object('Mesh', { tracing: { collector: 'grpc://a' } }), 'spec.tracing.collector'],
  [port({}), 'spec.rules[0].ports[0].port'],
  [port({ port: 65_536 }), 'spec.rules[0].ports[0].port'],
  [port({ port: '8080' }), 'spec.rules[0].ports[0].port'],
  [port({ port: 'much-too-long-for-a-port' }), 'spec.rules[0].ports[0].port'],
  [port({ port: 80, protocol: 'ICMP' }), 'spec.rules[0].ports[0].protocol'],
  [selector({ matchLabels: labels(17) }), 'spec.selector.matchLabels'],
  [selector({ matchLabels: { app: 'a b' } }), 'spec.selector.matchLabels.app'],
  [selector({ matchLabels: { app: 1 } }), 'spec.selector.matchLabels.app'],
  [
    selector({ matchExpressions: [{ key: '/a', operator: 'Exists' }] }),
    'spec.selector.matchExpressions[0].key',
  ],
  [expression('Near', ['a']), 'spec.selector.matchExpressions[0].operator'],
  [
    expression(
      'In',
      many(17, (i) => `v${i}`),
    ),
    'spec.selector.matchExpressions[0].values',
  ],
]

/** Refused by CEL, with zod's field and zod's words. */
export const refusedByRule: readonly RawObject[] = [
  object('Mesh', {}, 'other'),
  l7({ timeouts: { request: '1s', backendRequest: '1001ms' } }),
  budget({ interval: '999ms' }),
  budget({ interval: '1h1ms' }),
  budget({ minRetryRate: { interval: '0s' } }),
  balancing({ algorithm: 'RingHash', hashOn: { type: 'Header' } }),
  balancing({ algorithm: 'Maglev', hashOn: { type: 'SourceAddress', name: 'x' } }),
  balancing({ algorithm: 'RingHash' }),
  balancing({ hashOn: { type: 'SourceAddress' } }),
  balancing({
    ...{ algorithm: 'Maglev', hashOn: { type: 'SourceAddress' } },
    slowStart: '1s',
  }),
  balancing({ slowStart: '9ms' }),
  l7({ rateLimits: [{ requests: 1, interval: '0s' }] }),
  globalLimit({ type: 'Header' }),
  globalLimit({ type: 'Path', value: 'x' }),
  globalLimit({ type: 'Path' }, { timeout: '11s' }),
  l7({ outlierEjection: { interval: '25h' } }),
  l7({ outlierEjection: { baseEjectionTime: '0s' } }),
  l7({ outlierEjection: { maxEjectionTime: '24h1ms' } }),
  l7({ connectionPool: { idleTimeout: '0s' } }),
  l7({ connectionPool: { maxAge: '1ms' } }),
  l7({ faults: { delay: { percent: 1, duration: '0s' } } }),
  l7({ hedging: { delay: '1h1ms' } }),
  l7({ hedging: { delay: '1s' }, retries: { attempts: 1 } }),
  l7({ filters: [{ name: 'a', timeout: '0s' }] }),
  from({}),
  port({ port: 'http', endPort: 81 }),
  port({ port: 80, endPort: 79 }),
  jwks({}),
  jwks({ inline: '{}', file: 'a.json' }),
  expression('In'),
  expression('NotIn', []),
  expression('Exists', ['a']),
  expression('DoesNotExist', ['a']),
]

/** Accepted by the API server, and why it cannot know better. */
export const operatorOnly: readonly (readonly [RawObject, string])[] = [
  [
    selector({ matchLabels: { 'not a key': 'x' } }),
    'a CRD has no schema for keys of a map, and a loop over them in CEL has no bound to be priced by',
  ],
  [
    l7({ filters: [{ name: 'a', config: { long: 'x'.repeat(16_384) } }] }),
    'what a CRD keeps without looking at it has no length',
  ],
  [
    object('Mesh', { failureMode: null }),
    'the API server stores a null as absence, so the operator never sees it there; a file with it is a mistake',
  ],
]
