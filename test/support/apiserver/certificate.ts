// SPDX-License-Identifier: Apache-2.0
// A certificate authority for one test run. A little DER instead of the openssl command: nothing else in the tree needs
// that, and it would cost two processes a test.
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
  organization: '55040a',
  ecdsaSha256: '2a8648ce3d040302',
  basicConstraints: '551d13',
  keyUsage: '551d0f',
  extendedKeyUsage: '551d25',
  serverAuth: '2b06010505070301',
  clientAuth: '2b06010505070302',
  subjectAltName: '551d11',
}
const algorithm = sequence(hex(0x06, oid.ecdsaSha256))
const attribute = (id: string, text: string): Buffer =>
  der(0x31, sequence(hex(0x06, id), der(0x0c, Buffer.from(text))))

/** Who a certificate is of: to an API server, the common name is the user, and organisations are the groups. */
interface Name {
  readonly common: string
  readonly organizations?: readonly string[]
}
const nameOf = ({ common, organizations = [] }: Name): Buffer =>
  sequence(
    ...organizations.map((group) => attribute(oid.organization, group)),
    attribute(oid.commonName, common),
  )
const extension = (id: string, value: Buffer): Buffer =>
  sequence(hex(0x06, id), hex(0x01, 'ff'), der(0x04, value))

interface Subject {
  readonly name: Name
  readonly key: KeyObject
  readonly extensions: Buffer
}

function certify(subject: Subject, issuer: Name, signer: KeyObject): string {
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

/** PEM texts of a certificate and its key. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

/** A certificate authority whose certificates live for a day. */
export class Authority {
  /** Its own certificate. */
  readonly cert: string
  readonly #name: Name = { common: 'test CA' }
  readonly #key: KeyObject

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#key = privateKey
    const extensions = sequence(
      extension(oid.basicConstraints, sequence(hex(0x01, 'ff'))),
      extension(oid.keyUsage, hex(0x03, '0106')),
    )
    this.cert = certify(
      { name: this.#name, key: publicKey, extensions },
      this.#name,
      privateKey,
    )
  }

  /** For a server on 127.0.0.1 and localhost. */
  serverCertificate(): Pair {
    const names = sequence(
      der(0x82, Buffer.from('localhost')),
      der(0x87, Buffer.from([127, 0, 0, 1])),
    )
    return this.#pair(
      { common: '127.0.0.1' },
      extension(oid.extendedKeyUsage, sequence(hex(0x06, oid.serverAuth))),
      extension(oid.subjectAltName, names),
    )
  }

  /** For a user in groups. */
  userCertificate(user: string, groups: readonly string[]): Pair {
    return this.#pair(
      { common: user, organizations: groups },
      extension(oid.extendedKeyUsage, sequence(hex(0x06, oid.clientAuth))),
    )
  }

  #pair(name: Name, ...extensions: Buffer[]): Pair {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const subject = { name, key: publicKey, extensions: sequence(...extensions) }
    return {
      cert: certify(subject, this.#name, this.#key),
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    }
  }
}
