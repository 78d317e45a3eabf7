// SPDX-License-Identifier: Apache-2.0
// timeout: 120
// The bundle in a directory, and in a Secret and a ConfigMap of an API server.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { apiServers, type ApiServer } from '../../../../test/support/apiserver/index.ts'
import { caLimits, renew, trustOf } from '../../src/publish/ca.ts'
import {
  DirectoryBundleStore,
  KubernetesBundleStore,
} from '../../src/publish/ca-store.ts'
import { Certificates } from '../../src/publish/certificates.ts'
import { clientOf, create, grant } from '../support/create.ts'

const names = ['pillion-operator.pillion.svc']
const now = Date.UTC(2030, 0, 1)
const first = renew(undefined, names, now)
/** In the middle of a change of the CA: every field is in use. */
const changing = renew(first, names, now + caLimits.caMs - caLimits.caRenewMs + 1)
const changed = renew(
  changing,
  names,
  now + caLimits.caMs - caLimits.caRenewMs + 1 + caLimits.overlapMs,
)

t.test('a directory', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-ca-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const store = new DirectoryBundleStore(join(dir, 'tls'))
  t.equal(await store.read(), undefined)
  for (const bundle of [first, changing, changed]) {
    await store.write(bundle)
    await store.publish(bundle)
    t.same((await store.read())?.bundle, bundle)
    t.equal(readFileSync(join(dir, 'tls', 'ca.crt'), 'utf8'), trustOf(bundle))
  }
  t.equal(statSync(join(dir, 'tls', 'tls.json')).mode & 0o777, 0o600)
  t.equal(statSync(join(dir, 'tls', 'ca.crt')).mode & 0o777, 0o644)
  const before = statSync(join(dir, 'tls', 'ca.crt')).ino
  await store.publish(changed)
  t.equal(statSync(join(dir, 'tls', 'ca.crt')).ino, before, 'no difference, no write')
  writeFileSync(join(dir, 'tls', 'tls.json'), '{"ca.crt": "x"}')
  await t.rejects(store.read(), {
    code: 'STATE',
    message: /ca\.crt is missing.*remove it/,
  })
})

const namespace = 'pillion'
const secretPath = `/api/v1/namespaces/${namespace}/secrets/pillion-operator-tls`
const configMapPath = `/api/v1/namespaces/${namespace}/configmaps/pillion-ca`

/** A store with no more rights than it needs. */
async function prepare(t: Test, server: ApiServer) {
  t.teardown(() => server.close())
  const admin = server.client()
  await create(admin, 'Namespace', '', namespace)
  const objects = { apiGroups: [''], resources: ['secrets', 'configmaps'] }
  await grant(admin, namespace, 'pillion-operator', [
    // A name cannot restrict create.
    { ...objects, verbs: ['create'] },
    {
      ...{ ...objects, verbs: ['get', 'update'] },
      resourceNames: ['pillion-operator-tls', 'pillion-ca'],
    },
  ])
  const client = clientOf(t, server, namespace, 'pillion-operator')
  const configMap = async () => {
    const { body } = await admin.get(configMapPath)
    const { data, metadata } = body as unknown as ConfigMap
    return { trust: data['ca.crt'], version: metadata.resourceVersion }
  }
  return { admin, configMap, store: new KubernetesBundleStore({ client, namespace }) }
}

interface ConfigMap {
  readonly data: Readonly<Record<string, string>>
  readonly metadata: { readonly resourceVersion: string }
}

for (const { name, start } of apiServers()) {
  t.test(name, async (t) => {
    const { admin, configMap, store } = await prepare(t, await start())
    t.equal(await store.read(), undefined)
    for (const bundle of [first, changing, changed]) {
      await store.write(bundle, await store.read())
      await store.publish(bundle)
      t.same((await store.read())?.bundle, bundle)
      t.equal((await configMap()).trust, trustOf(bundle))
    }
    const { version } = await configMap()
    await store.publish(changed)
    t.equal((await configMap()).version, version, 'no difference, no write')

    const stale = await store.read()
    await store.write(first, stale)
    const conflict = { name: 'ApiError', message: / 409 / }
    await t.rejects(store.write(changed, stale), conflict)
    await t.rejects(store.write(changed, undefined), conflict)
    t.same((await store.read())?.bundle, first, 'the first write stays')

    await admin.merge(secretPath, { data: { 'tls.key': '' } })
    await t.rejects(store.read(), {
      code: 'STATE',
      message:
        /^Secret pillion\/pillion-operator-tls: tls\.key is missing or no PEM text/,
    })
  })

  t.test(`${name}: two that both believe to lead end with one CA`, async (t) => {
    const { configMap, store } = await prepare(t, await start())
    const replicas = [1, 2].map((replica) => {
      const onError = (error: string): void => t.comment(`replica ${replica}: ${error}`)
      const isLeader = (): boolean => true
      return new Certificates({ store, names, isLeader, onError, now: () => now })
    })
    for (let round = 1; round <= 2; round++)
      await Promise.all(replicas.map((each) => each.refresh()))
    const [one, two] = replicas.map(({ bundle }) => bundle)
    t.ok(one)
    t.same(one, two)
    t.equal((await configMap()).trust, one && trustOf(one))
  })
}
