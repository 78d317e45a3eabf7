// SPDX-License-Identifier: Apache-2.0
// Who writes the bundle, who only reads it, and what is served meanwhile.
import { connect as tcpConnect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { Server } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { renew } from '../../src/publish/ca.ts'
import { Certificates } from '../../src/publish/certificates.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { until } from '../support/running.ts'

const names = ['pillion-operator.pillion.svc']

async function listen(t: Test, certificates: Certificates): Promise<number> {
  const server = new Server()
  t.teardown(() => server.forceShutdown())
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', certificates.credentials, (error, port) =>
      error === null ? resolve(port) : reject(error),
    )
  })
}

t.test('a replica that does not lead only reads, and serves what it finds', async (t) => {
  const store = new MemoryStore()
  const errors: string[] = []
  const follower = new Certificates({
    ...{ store, names, isLeader: () => false, limits: { firstMs: 5 } },
    onError: (error) => errors.push(error),
  })
  t.teardown(() => follower.close())
  await follower.start()
  t.equal(follower.bundle, undefined)
  const port = await listen(t, follower)
  await new Promise<void>((resolve) =>
    tcpConnect(port, '127.0.0.1')
      .on('error', () => undefined)
      .on('close', () => resolve()),
  )
  t.equal(store.stored, undefined)
  const bundle = renew(undefined, names, Date.now())
  store.stored = { bundle, version: '1' }
  await until('the certificate of the leader', () => follower.bundle === bundle)
  t.equal(store.trust, '', 'it wrote nothing')
  await new Promise<void>((resolve, reject) => {
    const target = { port, host: '127.0.0.1', servername: names[0], ca: bundle.ca.cert }
    const socket = tlsConnect(target, () => {
      socket.destroy()
      resolve()
    }).on('error', reject)
  })
  t.same(errors, [])
})

t.test(
  'what was served stays when the store fails, and the trouble is told once',
  async (t) => {
    const store = new MemoryStore()
    const errors: string[] = []
    const certificates = new Certificates({
      ...{ store, names, isLeader: () => true },
      onError: (error) => errors.push(error),
    })
    t.teardown(() => certificates.close())
    await certificates.start()
    const { bundle } = certificates
    t.ok(bundle)
    const read = store.read.bind(store)
    store.read = async () => {
      throw new Error('no API server')
    }
    await certificates.refresh()
    await certificates.refresh()
    t.equal(certificates.bundle, bundle)
    t.same(errors, ['certificates: no API server'])
    store.read = read
    await certificates.refresh()
    t.equal(certificates.bundle, bundle, 'nothing new was made')
  },
)

t.test('a certificate is not served before nodes can trust it', async (t) => {
  const store = new MemoryStore()
  const errors: string[] = []
  store.publish = async () => {
    throw new Error('ConfigMap pillion-ca is forbidden')
  }
  const certificates = new Certificates({
    ...{ store, names, isLeader: () => true },
    onError: (error) => errors.push(error),
  })
  t.teardown(() => certificates.close())
  await certificates.start()
  t.equal(certificates.bundle, undefined)
  t.same(errors, ['certificates: ConfigMap pillion-ca is forbidden'])
})
