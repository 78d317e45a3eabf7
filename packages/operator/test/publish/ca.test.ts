// SPDX-License-Identifier: Apache-2.0
// The life of a certificate authority, year by year on a clock of the test.
import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { caLimits, endOf, renew, trustOf, type Bundle } from '../../src/publish/ca.ts'

const start = Date.UTC(2030, 0, 1)
const names = ['pillion-operator.pillion.svc', '127.0.0.1', '::1']

const signedBy = (cert: string, ca: string): boolean =>
  new X509Certificate(cert).verify(new X509Certificate(ca).publicKey)

t.test('the first bundle', async (t) => {
  const { ca, next, previous, serving } = renew(undefined, names, start)
  const authority = new X509Certificate(ca.cert)
  t.equal(authority.ca, true)
  t.match(authority.subject, 'Pillion operator CA 2030-01')
  t.equal(authority.verify(authority.publicKey), true)
  t.equal(authority.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  t.equal(endOf(ca.cert), start + caLimits.caMs)
  const leaf = new X509Certificate(serving.cert)
  t.equal(leaf.ca, false)
  t.equal(
    leaf.subjectAltName,
    'DNS:pillion-operator.pillion.svc, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
  )
  t.same(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'a server, and nothing else')
  t.equal(leaf.checkIssued(authority), true)
  t.equal(signedBy(serving.cert, ca.cert), true)
  t.equal(endOf(serving.cert), start + caLimits.servingMs)
  t.ok(leaf.validFromDate.getTime() < start, 'clocks of nodes may be behind')
  t.same([next, previous], [undefined, undefined])
  t.not(serving.key, ca.key)
  t.not(leaf.serialNumber, authority.serialNumber)
  t.throws(() => renew(undefined, [], start), RangeError)
})

t.test(
  'a serving certificate is renewed at two thirds, or for another name',
  async (t) => {
    const first = renew(undefined, names, start)
    const day60 = start + caLimits.servingRenewMs
    t.equal(renew(first, names, day60 - 60_000), first, 'nothing to do: the same value')
    const second = renew(first, names, day60)
    t.equal(second.ca, first.ca)
    t.equal(endOf(second.serving.cert), day60 + caLimits.servingMs)
    const named = renew(second, [...names, 'operator.example'], day60)
    t.match(new X509Certificate(named.serving.cert).subjectAltName, 'operator.example')
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.svc`
    t.equal(renew(named, [long], day60).serving.cert === named.serving.cert, false)
  },
)

t.test('a CA is replaced without a node that trusts neither', async (t) => {
  let bundle: Bundle = renew(undefined, names, start)
  const oldCa = bundle.ca
  const near = start + caLimits.caMs - caLimits.caRenewMs
  const first = new Set([trustOf(bundle)])
  // Hour by hour through the change; what a node has mounted may be an hour old.
  let mounted = trustOf(bundle)
  const phases: string[] = []
  for (let now = near - 3_600_000; now < near + 4 * 86_400_000; now += 3_600_000) {
    bundle = renew(bundle, names, now)
    const trusted = mounted.match(/-----BEGIN[^]+?END CERTIFICATE-----\n/g) ?? []
    if (!trusted.some((ca) => signedBy(bundle.serving.cert, ca)))
      t.fail(`nobody trusts the server at ${new Date(now).toISOString()}`)
    const signer = bundle.ca === oldCa ? 'old' : 'new'
    const phase = `${signer} of ${trusted.length}`
    if (phases.at(-1) !== phase) phases.push(phase)
    mounted = trustOf(bundle)
    first.add(mounted)
  }
  t.same(phases, ['old of 1', 'old of 2', 'new of 2', 'new of 1'])
  t.not(bundle.ca.cert, oldCa.cert)
  t.notMatch(trustOf(bundle), oldCa.cert)
})

t.test('a CA that has ended is replaced at once', async (t) => {
  const first = renew(undefined, names, start)
  const late = renew(first, names, start + caLimits.caMs + 1)
  t.not(late.ca.cert, first.ca.cert)
  t.equal(trustOf(late), late.ca.cert)
  t.equal(signedBy(late.serving.cert, late.ca.cert), true)
})

t.test('a serving certificate of another CA is not kept', async (t) => {
  const first = renew(undefined, names, start)
  const other = renew(undefined, names, start)
  const mixed = renew({ ...first, serving: other.serving }, names, start)
  t.equal(signedBy(mixed.serving.cert, first.ca.cert), true)
})
