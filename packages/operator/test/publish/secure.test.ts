// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// All of it together: an operator on a network address, its CA in a Secret, a node's pod with its projected token.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Role, subscribe, type SubscriptionState } from '@pillion/contract'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { startApiServer } from '../../../../test/support/apiserver/index.ts'
import { Publisher } from '../../src/publish/publisher.ts'
import { secureServing, type SecureOptions } from '../../src/publish/secure.ts'
import { serve } from '../../src/publish/server.ts'
import { tokenAudience } from '../../src/publish/token-review.ts'
import { clientOf, create, grant } from '../support/create.ts'
import { compileYaml, node } from '../support/objects.ts'
import { until } from '../support/running.ts'

const namespace = 'pillion-system'

function publisherOf(): Publisher {
  const publisher = new Publisher({ nackRetryMs: 60_000, onChange: () => undefined })
  publisher.publish(compileYaml(node('node-1', '10.0.0.1')), new Set(['node-1']))
  return publisher
}

function optionsOf(t: Test, rest: Partial<SecureOptions>): SecureOptions {
  return {
    ...{ listen: '0.0.0.0:0', namespace, tlsDir: '', tlsNames: '', client: undefined },
    ...{ registry: new Registry(), isLeader: () => true },
    onError: (error) => t.fail(error),
    ...rest,
  }
}

t.test('a cluster', async (t) => {
  const server = await startApiServer()
  t.teardown(() => server.close())
  const admin = server.client()
  await create(admin, 'Namespace', '', namespace)
  await create(admin, 'Node', '', 'node-1')
  await create(admin, 'ServiceAccount', namespace, 'pillion-node')
  await create(admin, 'Pod', namespace, 'pillion-node-x', {
    spec: {
      ...{ serviceAccountName: 'pillion-node', nodeName: 'node-1' },
      containers: [{ name: 'agent', image: 'agent' }],
    },
  })
  const reviews = { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'] }
  const account = 'pillion-operator'
  await grant(admin, namespace, account, [{ ...reviews, verbs: ['create'] }], true)
  const kept = { apiGroups: [''], resources: ['secrets', 'configmaps'] }
  await grant(admin, namespace, account, [
    { ...kept, verbs: ['create', 'get', 'update'] },
  ])
  const client = clientOf(t, server, namespace, account)
  const registry = new Registry()
  const secured = await secureServing(optionsOf(t, { client, registry }))
  t.teardown(() => secured.close())
  const publisher = publisherOf()
  const { port, close } = await serve('0.0.0.0:0', publisher, secured.options)
  t.teardown(close)

  const dir = mkdtempSync(join(tmpdir(), 'pillion-secure-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const caFile = join(dir, 'ca.crt')
  const tokenFile = join(dir, 'token')
  const namespaced = `/api/v1/namespaces/${namespace}`
  const { body: map } = await admin.get(`${namespaced}/configmaps/pillion-ca`)
  writeFileSync(caFile, (map['data'] as Record<string, string>)['ca.crt'] ?? '')
  const { body: made } = await admin.create(
    `${namespaced}/serviceaccounts/pillion-node/token`,
    {
      ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
      spec: {
        ...{ audiences: [tokenAudience], expirationSeconds: 3600 },
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'pillion-node-x' },
      },
    },
  )
  writeFileSync(tokenFile, (made['status'] as { token: string }).token)
  const open = (name: string): SubscriptionState[] => {
    const states: SubscriptionState[] = []
    const subscription = subscribe({
      ...{ address: `localhost:${port}`, node: name, role: Role.AGENT, tokenFile },
      tls: { caFile, serverName: `pillion-operator.${namespace}.svc` },
      onUpdate: () => undefined,
      onState: (state) => states.push(state),
    })
    t.teardown(() => subscription.close())
    return states
  }
  const right = open('node-1')
  await until('streaming', () => right.some(({ kind }) => kind === 'streaming'))
  const wrong = open('node-2')
  const isDenied = (state: SubscriptionState): boolean =>
    state.kind === 'waiting' && state.error.includes('PERMISSION_DENIED')
  await until('refused', () => wrong.some(isDenied))
  t.notOk(wrong.some(({ kind }) => kind === 'streaming'))
  t.match(publisher.status(), [{ node: 'node-1', connected: true }])
  t.match(await registry.metrics(), 'pillion_operator_tokens_total{result="accepted"} 1')
})

t.test('where nobody else listens, nothing is needed', async (t) => {
  const { options } = await secureServing(optionsOf(t, { listen: 'unix:/x' }))
  t.same(Object.keys(options), ['metrics'])
})

t.test(
  'a directory makes TLS on loopback, and is not enough for the network',
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'pillion-secure-'))
    t.teardown(() => rmSync(dir, { recursive: true }))
    const tls = { tlsDir: dir, tlsNames: 'localhost,127.0.0.1' }
    const secured = await secureServing(optionsOf(t, { ...tls, listen: '127.0.0.1:0' }))
    t.teardown(() => secured.close())
    const { port, close } = await serve('127.0.0.1:0', publisherOf(), secured.options)
    t.teardown(close)
    const states: SubscriptionState[] = []
    const subscription = subscribe({
      ...{ address: `localhost:${port}`, node: 'node-1', role: Role.AGENT },
      tls: { caFile: join(dir, 'ca.crt') },
      onUpdate: () => undefined,
      onState: (state) => states.push(state),
    })
    t.teardown(() => subscription.close())
    await until('streaming', () => states.some(({ kind }) => kind === 'streaming'))
    const open = serve('0.0.0.0:0', publisherOf(), secured.options)
    await t.rejects(open, { code: 'LISTEN', message: /needs TLS and tokens/ })
  },
)
