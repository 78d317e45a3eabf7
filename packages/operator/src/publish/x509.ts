// SPDX-License-Identifier: Apache-2.0
// Certificates: node:crypto makes keys and signs, @peculiar/asn1-x509 writes the structures of RFC 5280. Not the larger
// @peculiar/x509: it needs a global polyfill of Reflect and twice the packages for what is one function here.
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto'
import { isIP } from 'node:net'
import { AsnConvert, OctetString } from '@peculiar/asn1-schema'
import * as asn1 from '@peculiar/asn1-x509'

/** A certificate with its key, both PEM. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

export interface CertificateRequest {
  readonly commonName: string
  readonly notBefore: number
  readonly notAfter: number
  /** undefined: a CA. */
  readonly names: readonly string[] | undefined
}

const ecdsaWithSha256 = new asn1.AlgorithmIdentifier({
  algorithm: '1.2.840.10045.4.3.2',
})
const commonNameId = '2.5.4.3'

/** A new ECDSA P-256 key and its certificate, signed by `issuer`, or by itself. */
export function issue(request: CertificateRequest, issuer?: Pair): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const subject = nameOf(request.commonName)
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const tbsCertificate = new asn1.TBSCertificate({
    version: asn1.Version.v3,
    serialNumber: serialNumber(),
    signature: ecdsaWithSha256,
    issuer: issuer === undefined ? subject : subjectOf(issuer),
    validity: new asn1.Validity({
      notBefore: new Date(request.notBefore),
      notAfter: new Date(request.notAfter),
    }),
    subject,
    subjectPublicKeyInfo: AsnConvert.parse(spki, asn1.SubjectPublicKeyInfo),
    extensions: new asn1.Extensions([
      ...extensionsOf(request.names),
      ...keyIdentifiers(publicKey, issuer),
    ]),
  })
  const signer = issuer === undefined ? privateKey : createPrivateKey(issuer.key)
  const signature = sign(
    'sha256',
    Buffer.from(AsnConvert.serialize(tbsCertificate)),
    signer,
  )
  const certificate = new asn1.Certificate({
    tbsCertificate,
    signatureAlgorithm: ecdsaWithSha256,
    signatureValue: bytes(signature),
  })
  return {
    cert: new X509Certificate(Buffer.from(AsnConvert.serialize(certificate))).toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}

function extensionsOf(names: readonly string[] | undefined): asn1.Extension[] {
  const { id_ce_basicConstraints, id_ce_keyUsage, id_ce_extKeyUsage } = asn1
  if (names === undefined) {
    const usage = asn1.KeyUsageFlags.keyCertSign | asn1.KeyUsageFlags.cRLSign
    return [
      extension(
        id_ce_basicConstraints,
        new asn1.BasicConstraints({ cA: true, pathLenConstraint: 0 }),
      ),
      extension(id_ce_keyUsage, new asn1.KeyUsage(usage)),
    ]
  }
  const general = names.map(
    (name) =>
      new asn1.GeneralName(isIP(name) === 0 ? { dNSName: name } : { iPAddress: name }),
  )
  return [
    extension(id_ce_basicConstraints, new asn1.BasicConstraints({ cA: false })),
    extension(id_ce_keyUsage, new asn1.KeyUsage(asn1.KeyUsageFlags.digitalSignature)),
    extension(id_ce_extKeyUsage, new asn1.ExtendedKeyUsage([asn1.id_kp_serverAuth])),
    extension(asn1.id_ce_subjectAltName, new asn1.SubjectAlternativeName(general), false),
  ]
}

/** Two CAs of one name are told apart by them: an overlap bundle needs that (RFC 5280 4.2.1.1). */
function keyIdentifiers(own: KeyObject, issuer: Pair | undefined): asn1.Extension[] {
  const issuerKey =
    issuer === undefined ? own : new X509Certificate(issuer.cert).publicKey
  const authority = new asn1.AuthorityKeyIdentifier({
    keyIdentifier: new asn1.KeyIdentifier(keyId(issuerKey)),
  })
  return [
    extension(
      asn1.id_ce_subjectKeyIdentifier,
      new asn1.SubjectKeyIdentifier(keyId(own)),
      false,
    ),
    extension(asn1.id_ce_authorityKeyIdentifier, authority, false),
  ]
}

/** RFC 7093 method 4: 160 bits of the SHA-256 of the SubjectPublicKeyInfo. */
function keyId(key: KeyObject): ArrayBuffer {
  const spki = key.export({ type: 'spki', format: 'der' })
  return bytes(createHash('sha256').update(spki).digest().subarray(0, 20))
}

function extension(extnID: string, value: object, critical = true): asn1.Extension {
  const extnValue = new OctetString(AsnConvert.serialize(value))
  return new asn1.Extension({ extnID, critical, extnValue })
}

function nameOf(commonName: string): asn1.Name {
  const value = new asn1.AttributeValue({ utf8String: commonName })
  const type = new asn1.AttributeTypeAndValue({ type: commonNameId, value })
  return new asn1.Name([new asn1.RelativeDistinguishedName([type])])
}

function subjectOf({ cert }: Pair): asn1.Name {
  const der = new X509Certificate(cert).raw
  return AsnConvert.parse(der, asn1.Certificate).tbsCertificate.subject
}

/** 127 random bits; positive and without a leading zero byte (RFC 5280 4.1.2.2). */
function serialNumber(): ArrayBuffer {
  const serial = randomBytes(16)
  serial.writeUInt8((serial.readUInt8(0) & 0x7f) | 0x40, 0)
  return bytes(serial)
}

function bytes(buffer: Buffer): ArrayBuffer {
  return new Uint8Array(buffer).buffer
}
