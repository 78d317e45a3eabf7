// SPDX-License-Identifier: Apache-2.0
// How a node's process reaches the operator: TLS from the operator's CA, and the token of its own pod. Files are read anew
// for every session, because kubelet rotates projected tokens and the operator its CA.
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { BlockList, isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import {
  credentials,
  Metadata,
  type ChannelCredentials,
  type ChannelOptions,
} from '@grpc/grpc-js'

/** Limits and their defaults. */
export const securityLimits = {
  /** A projected token is about 1.2 KiB; HTTP/2 servers take 16 KiB of headers or more. */
  maxTokenBytes: 8 * 1024,
} as const

export interface TlsOptions {
  /** PEM file of the CAs that may have signed the operator's certificate: ConfigMap `pillion-ca`, key `ca.crt`. */
  readonly caFile: string
  /** Name that the certificate must have; default: the host of the address. */
  readonly serverName?: string | undefined
}

export interface SecurityOptions {
  /** 'unix:/path' or 'host:port'. */
  readonly address: string
  readonly tls?: TlsOptions | undefined
  /** File of the service account token that proves this process's node; sent over TLS only. */
  readonly tokenFile?: string | undefined
}

/** The options `--operator`, `--operator-ca`, `--operator-token` and `--operator-server-name`, where '' is not given. */
export function securityOptions(options: {
  readonly operator: string
  readonly operatorCa: string
  readonly operatorToken: string
  readonly operatorServerName: string
}): SecurityOptions {
  const { operator, operatorCa, operatorToken, operatorServerName } = options
  const serverName = operatorServerName === '' ? undefined : operatorServerName
  return {
    address: operator,
    tls: operatorCa === '' ? undefined : { caFile: operatorCa, serverName },
    tokenFile: operatorToken === '' ? undefined : operatorToken,
  }
}

/** What one session is opened with. */
export interface Security {
  readonly credentials: ChannelCredentials
  readonly channelOptions: ChannelOptions
  readonly metadata: Metadata
}

/**
 * Whether bytes to this address stay on this machine: a UNIX socket, or loopback. Only then may they go without TLS.
 * Names are not looked up: of them only `localhost` counts.
 */
export function isLocalAddress(address: string): boolean {
  if (address.startsWith('unix:')) return true
  const host = hostOf(address)
  const family = isIP(host)
  if (family === 0) return host === 'localhost'
  return loopback.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** "::1" of "[::1]:15010". */
function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
}

/**
 * Reads the files of a session. Throws an Error that names the file and what to do; its text never has a token. A network
 * address without TLS is refused: policy would come from whoever answers.
 */
export async function secure(options: SecurityOptions): Promise<Security> {
  const { address, tls, tokenFile } = options
  if (tls === undefined) {
    if (!isLocalAddress(address)) {
      const what = tokenFile === undefined ? 'configuration' : 'a token'
      throw new Error(
        `${address} is reached over the network, and ${what} goes over TLS only: name the operator's CA (--operator-ca FILE)`,
      )
    }
    // A token that nobody protects is not sent, not even here.
    return {
      credentials: credentials.createInsecure(),
      channelOptions: {},
      metadata: new Metadata(),
    }
  }
  const metadata = new Metadata()
  if (tokenFile !== undefined)
    metadata.set('authorization', `Bearer ${await readToken(tokenFile)}`)
  return {
    credentials: await readCa(tls.caFile),
    channelOptions:
      tls.serverName === undefined
        ? {}
        : { 'grpc.ssl_target_name_override': tls.serverName },
    metadata,
  }
}

async function readCa(file: string): Promise<ChannelCredentials> {
  const ca = await read(file, "the operator's CA", 'is ConfigMap pillion-ca mounted?')
  const blocks = ca.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  if (blocks === null) {
    throw new Error(`${file}: no certificate (PEM) in it; it must hold the operator's CA`)
  }
  try {
    // The context ignores what it cannot parse, and then trusts nobody.
    for (const block of blocks) new X509Certificate(block)
    const context = createSecureContext({ ca, minVersion: 'TLSv1.3' })
    return credentials.createFromSecureContext(context)
  } catch (error) {
    throw new Error(`${file}: not usable as a CA: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

async function readToken(file: string): Promise<string> {
  const advice = 'is the projected serviceAccountToken volume mounted?'
  const token = (await read(file, 'the token', advice)).trim()
  if (token === '') throw new Error(`${file}: the token is empty; ${advice}`)
  if (token.length > securityLimits.maxTokenBytes || !/^[\x21-\x7e]+$/.test(token)) {
    throw new Error(
      `${file}: not a token: one line of at most ${securityLimits.maxTokenBytes} visible characters is expected`,
    )
  }
  return token
}

async function read(file: string, what: string, advice: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new Error(`${file}: ${what} cannot be read (${reason}); ${advice}`, {
      cause: error,
    })
  }
}

/** The text of a lost session, with what to do where TLS or the token was the cause. */
export function explain(error: string, { tls, tokenFile }: SecurityOptions): string {
  if (error.startsWith('16 UNAUTHENTICATED'))
    return `${error} (token of ${tokenFile ?? 'no file: name one with --operator-token'})`
  const isTls = /^14 UNAVAILABLE.*(certificate|altnames|SSL|TLS)/is.test(error)
  if (tls === undefined || !isTls) return error
  const name =
    tls.serverName === undefined ? '' : `, and it must be for ${tls.serverName}`
  return `${error} (the operator's certificate must be signed by a CA of ${tls.caFile}${name})`
}
