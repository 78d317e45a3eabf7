// SPDX-License-Identifier: Apache-2.0
// What is wrong with a manifest is said with file, object and field.
import t from 'tap'
import { durationMs } from '../../src/api/scalar.ts'
import { formatError } from '../../src/api/object.ts'
import { snapshotOf } from '../support/objects.ts'

const errors = (yaml: string): string[] => snapshotOf(yaml).errors.map(formatError)

const route = (rule: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [${rule}]}
`
const policy = (spec: string): string => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: ${spec}
`
const access = (spec: string): string => `
apiVersion: mesh.pillion.dev/v1alpha1
kind: AccessPolicy
metadata: {name: p, namespace: shop}
spec: ${spec}
`
const l7 = (spec: string): string => `
apiVersion: mesh.pillion.dev/v1alpha1
kind: L7Service
metadata: {name: p, namespace: shop}
spec: ${spec}
`
const service = (spec: string): string => `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: ${spec}
`
const inService = 'test.yaml: Service shop/web: spec'
const inRoute = 'test.yaml: HTTPRoute shop/web: spec.rules[0]'
const inPolicy = 'test.yaml: NetworkPolicy shop/p: spec'
const inAccess = 'test.yaml: AccessPolicy shop/p: spec'
const inL7 = 'test.yaml: L7Service shop/p: spec'

const cases: readonly (readonly [string, readonly string[]])[] = [
  [
    route('{matches: [{path: {value: /}}, {path: {type: Exact, value: v2}}]}'),
    [`${inRoute}.matches[1].path.value: must start with "/"`],
  ],
  [
    route('{matches: [{path: {value: /a//b}, method: get}]}'),
    [
      `${inRoute}.matches[0].path.value: must not contain "//"`,
      `${inRoute}.matches[0].method: must be one of "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"`,
    ],
  ],
  [route('{match: []}'), [`${inRoute}.match: unknown field`]],
  [
    route('{timeouts: {request: 1s, backendRequest: 2s}}'),
    [`${inRoute}.timeouts.backendRequest: must not exceed request`],
  ],
  [
    route('{timeouts: {request: 1.5s}}'),
    [
      `${inRoute}.timeouts.request: "1.5s" is not a duration (GEP-2257), for example "1m30s" or "250ms"`,
    ],
  ],
  [route('{retry: {codes: [200]}}'), [`${inRoute}.retry.codes[0]: must be at least 400`]],
  [
    route('{filters: [{type: URLRewrite}]}'),
    [`${inRoute}.filters[0].urlRewrite: missing; type is URLRewrite`],
  ],
  [
    route(
      '{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: a, port: 80}]}',
    ),
    [`${inRoute}.backendRefs: RequestRedirect excludes backendRefs`],
  ],
  [
    route(
      '{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: "b\\r\\nc: d"}]}}]}',
    ),
    [
      `${inRoute}.filters[0].requestHeaderModifier.set[0].value: must not contain a line break`,
    ],
  ],
  [route('{backendRefs: [{port: 80}]}'), [`${inRoute}.backendRefs[0].name: missing`]],
  [route('7'), [`${inRoute}: must be a mapping, not 7`]],
  [
    policy('{podSelector: {}, ingress: [{from: [{}]}]}'),
    [
      `${inPolicy}.ingress[0].from[0]: must have podSelector, namespaceSelector or ipBlock`,
    ],
  ],
  [
    policy('{podSelector: {matchExpressions: [{key: a, operator: In}]}}'),
    [
      `${inPolicy}.podSelector.matchExpressions[0].values: operators In and NotIn need at least one value`,
    ],
  ],
  [
    policy('{podSelector: {}, ingress: [{ports: [{port: http, endPort: 9}]}]}'),
    [`${inPolicy}.ingress[0].ports[0].endPort: needs a numbered port beside it`],
  ],
  [
    policy('{podSelector: {}, egress: [{ports: [{port: 70000}]}]}'),
    [`${inPolicy}.egress[0].ports[0].port: must be at most 65535`],
  ],
  [
    access('{rules: [{from: []}]}'),
    [
      `${inAccess}.rules[0].from: must name at least one peer; for every pod: namespaceSelector: {}`,
    ],
  ],
  [access('{rules: [{ports: [{port: 80}]}]}'), [`${inAccess}.rules[0].from: missing`]],
  [
    access('{rules: [{from: [{}]}]}'),
    [
      `${inAccess}.rules[0].from[0]: must have namespaceSelector, podSelector or serviceAccounts`,
    ],
  ],
  [l7('{targetRef: {name: web}}'), [`${inL7}.protocol: missing`]],
  [
    l7(
      `{targetRef: {name: web}, protocol: http, globalRateLimit: {service: {name: limits, port: 8081}, domain: shop, timeout: 11s, descriptors: [{entries: [{type: Header}, {type: Path, value: x}]}, {entries: []}]}}`,
    ),
    [
      `${inL7}.globalRateLimit.timeout: must be from 1ms to 10s`,
      `${inL7}.globalRateLimit.descriptors[0].entries[0].name: is for Header, and needed there`,
      `${inL7}.globalRateLimit.descriptors[0].entries[1].value: is for Value, and needed there`,
      `${inL7}.globalRateLimit.descriptors[1].entries: must have at least 1 item(s)`,
    ],
  ],
  [
    l7('{targetRef: {name: web}, protocol: tcp}'),
    [`${inL7}.protocol: must be one of "http", "http2", "grpc"`],
  ],
  ...['0.0.0.0', '127.0.0.1', '169.254.1.1', '224.0.0.1', '::1', 'fe80::1'].map(
    (address): (typeof cases)[number] => [
      service(`{externalIPs: ["${address}"]}`),
      [
        `${inService}.externalIPs[0]: must not be unspecified, loopback, link-local or multicast`,
      ],
    ],
  ),
  [
    service('{sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}'),
    [`${inService}.sessionAffinityConfig.clientIP.timeoutSeconds: must be at most 86400`],
  ],
  [
    service('{internalTrafficPolicy: Node, ports: [{port: 80, nodePort: 70000}]}'),
    [
      `${inService}.internalTrafficPolicy: must be one of "Cluster", "Local"`,
      `${inService}.ports[0].nodePort: must be at most 65535`,
    ],
  ],
  [
    'apiVersion: mesh.pillion.dev/v1alpha1\nkind: Mesh\nmetadata: {name: other}\nspec: {}',
    ['test.yaml: Mesh other: metadata.name: must be "default": there is one Mesh'],
  ],
  [
    'apiVersion: v1\nkind: Pod\nmetadata: {}',
    ['test.yaml: line 1: Pod: metadata.name: missing'],
  ],
  [
    'a: [1',
    [
      'test.yaml: line 1: Flow sequence in flow collection must be sufficiently indented and end with a ]',
    ],
  ],
]

t.test('each error names file, object and field', async (t) => {
  for (const [yaml, want] of cases) {
    const got = errors(yaml)
    if (yaml.startsWith('a: [1')) t.match(got, [/^test\.yaml: line \d: Flow sequence/])
    else t.strictSame(got, want, yaml)
  }
})

t.test('a line number counts from the start of the file', async (t) => {
  t.match(
    errors('apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n\nb: [\n---\n'),
    [/^test\.yaml: line [67]: /],
  )
})

t.test('kinds of others are left alone, also of the same name', async (t) => {
  const yaml =
    'apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\nspec: 7'
  t.strictSame(errors(yaml), [])
  t.equal(snapshotOf(yaml).snapshot.Service.size, 0)
})

t.test('a List is its items', async (t) => {
  const { snapshot } = snapshotOf(
    'apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Namespace, metadata: {name: a}}]',
  )
  t.same([...snapshot.Namespace.keys()], ['/a'])
})

t.test('durations of GEP-2257', async (t) => {
  t.equal(durationMs('1h30m'), 5_400_000)
  t.equal(durationMs('1s500ms'), 1500)
  t.equal(durationMs('0s'), 0)
  t.equal(durationMs('99999h'), 359_996_400_000)
  for (const bad of ['', '1', '1.5s', '-1s', '1d', '100000s', '1h1m1s1ms1s', '1 s']) {
    t.equal(durationMs(bad), undefined, bad)
  }
})
