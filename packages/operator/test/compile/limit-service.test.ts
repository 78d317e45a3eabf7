// SPDX-License-Identifier: Apache-2.0
// The rate limit service of an L7Service: resolved, told to the proxies, or said to be missing.
import { DescriptorSource } from '@pillion/contract'
import t from 'tap'
import { compileYaml, pod, service, slice } from '../support/objects.ts'

const shop = [
  ...['web', 'limits'].map((name) => service('shop', name, `10.96.0.${name.length}`)),
  pod('shop', 'web', '10.244.1.2'),
  pod('shop', 'limits', '10.244.1.3'),
  slice('shop', 'web', ['10.244.1.2']),
  slice('shop', 'limits', ['10.244.1.3']),
].join('')

const entries = [
  { type: 'Value', value: 'gold' },
  { type: 'Header', name: 'X-User' },
  { type: 'ServiceAccount' },
  { type: 'Path', key: 'p' },
]

function compiled(limit: object, extra = '') {
  const l7 = {
    apiVersion: 'mesh.pillion.dev/v1alpha1',
    kind: 'L7Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      targetRef: { name: 'web' },
      protocol: 'http',
      globalRateLimit: { domain: 'shop', descriptors: [{ entries }], ...limit },
    },
  }
  const result = compileYaml(`${shop}${extra}\n---\n${JSON.stringify(l7)}\n`)
  const { traffic } = result.routes.tables.get('shop/web:80/TCP') ?? {}
  const condition = result.conditions
    .get('L7Service/shop/web')
    ?.find(({ type }) => type === 'ResolvedRefs')
  return { result, limit: traffic?.globalRateLimit, condition }
}

t.test('a service in the same namespace, with the defaults', async (t) => {
  const { result, limit, condition } = compiled({ service: { name: 'limits', port: 80 } })
  t.strictSame(limit, {
    ...{ servicePort: 'shop/limits:80/TCP', domain: 'shop', timeoutMs: 50 },
    ...{ failClosed: false, hits: 1 },
    descriptors: [
      {
        entries: [
          { source: DescriptorSource.VALUE, key: 'generic_key', text: 'gold' },
          { source: DescriptorSource.HEADER, key: 'x-user', text: 'x-user' },
          {
            source: DescriptorSource.SERVICE_ACCOUNT,
            key: 'source_service_account',
            text: '',
          },
          { source: DescriptorSource.PATH, key: 'p', text: '' },
        ],
      },
    ],
  })
  t.match(condition, { status: 'True' })
  t.ok(result.proxyServicePorts.get('shop/limits:80/TCP'), 'proxies know the service')
  t.ok(result.proxyEndpoints.get('shop/limits:80/TCP|10.244.1.3:8080'), 'and where it is')
})

t.test('what cannot be resolved is said with what it costs', async (t) => {
  const missing = compiled({ service: { name: 'limits', namespace: 'ops', port: 80 } })
  t.equal(missing.limit?.servicePort, '')
  t.equal(
    missing.condition?.message,
    'spec.globalRateLimit.service: Service ops/limits does not exist; its requests are not limited by it',
  )
  const closed = compiled({
    service: { name: 'limits', port: 81 },
    failureMode: 'Closed',
  })
  t.match(closed.limit, { servicePort: '', failClosed: true })
  t.match(closed.condition, {
    status: 'False',
    reason: 'BackendNotFound',
    message: /has no TCP port 81; it has .*; its requests get 503$/,
  })
})

t.test('it stays resolved while its Service is there', async (t) => {
  const { condition } = compiled(
    { service: { name: 'limits', namespace: 'ops', port: 80 } },
    service('ops', 'limits', '10.96.0.77'),
  )
  t.match(condition, { status: 'True', reason: 'ResolvedRefs' })
})
