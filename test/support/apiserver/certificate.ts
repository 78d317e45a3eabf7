// SPDX-License-Identifier: Apache-2.0
// A certificate authority for one test run and a certificate of the server on 127.0.0.1. Forty lines of DER instead of the
// openssl command: nothing else in the tree needs that, and it would cost two processes a test.
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'

const der = (tag: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  const size = body.length
  const length =
    size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}
const sequence = (...parts: Buffer[]): Buffer => der(0x30, ...parts)
const hex = (tag: number, text: string): Buffer => der(tag, Buffer.from(text, 'hex'))
const integer = (value: Buffer): Buffer => der(0x02, value)
const bits = (value: Buffer): Buffer => der(0x03, Buffer.from([0]), value)
const utcTime = (date: Date): Buffer =>
  der(0x17, Buffer.from(date.toISOString().slice(2, 19).replace(/[-:T]/g, '') + 'Z'))

const oid = {
  commonName: '550403',
  ecdsaSha256: '2a8648ce3d040302',
  basicConstraints: '551d13',
  keyUsage: '551d0f',
  extendedKeyUsage: '551d25',
  serverAuth: '2b06010505070301',
  subjectAltName: '551d11',
}
const algorithm = sequence(hex(0x06, oid.ecdsaSha256))
const nameOf = (text: string): Buffer =>
  sequence(der(0x31, sequence(hex(0x06, oid.commonName), der(0x0c, Buffer.from(text)))))
const extension = (id: string, value: Buffer): Buffer =>
  sequence(hex(0x06, id), hex(0x01, 'ff'), der(0x04, value))

interface Subject {
  readonly name: string
  readonly key: KeyObject
  readonly extensions: Buffer
}

function certify(subject: Subject, issuer: string, signer: KeyObject): string {
  const dayMs = 86_400_000
  const serial = Buffer.concat([Buffer.from([1]), randomBytes(8)])
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(serial),
    algorithm,
    nameOf(issuer),
    sequence(
      utcTime(new Date(Date.now() - dayMs)),
      utcTime(new Date(Date.now() + dayMs)),
    ),
    nameOf(subject.name),
    subject.key.export({ type: 'spki', format: 'der' }),
    der(0xa3, subject.extensions),
  )
  const certificate = sequence(body, algorithm, bits(sign('sha256', body, signer)))
  const lines = certificate.toString('base64').replace(/(.{64})/g, '$1\n')
  return `-----BEGIN CERTIFICATE-----\n${lines.trimEnd()}\n-----END CERTIFICATE-----\n`
}

/** PEM texts for a TLS server on 127.0.0.1 and localhost, valid for a day. */
export function makeCertificates(): { ca: string; cert: string; key: string } {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const caName = 'test CA'
  const caExtensions = sequence(
    extension(oid.basicConstraints, sequence(hex(0x01, 'ff'))),
    extension(oid.keyUsage, hex(0x03, '0106')),
  )
  const names = sequence(
    der(0x82, Buffer.from('localhost')),
    der(0x87, Buffer.from([127, 0, 0, 1])),
  )
  const extensions = sequence(
    extension(oid.extendedKeyUsage, sequence(hex(0x06, oid.serverAuth))),
    extension(oid.subjectAltName, names),
  )
  const ca = { name: caName, key: authority.publicKey, extensions: caExtensions }
  const own = { name: '127.0.0.1', key: server.publicKey, extensions }
  return {
    ca: certify(ca, caName, authority.privateKey),
    cert: certify(own, caName, authority.privateKey),
    key: server.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}
