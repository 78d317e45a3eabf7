// SPDX-License-Identifier: Apache-2.0
// Who opens a stream: the face between the streams and whatever knows tokens.
import { status } from '@grpc/grpc-js'

/** What a token proves. */
export interface Identity {
  /** The node on which the pod runs: the only one whose configuration it gets. */
  readonly node: string
  readonly podName: string
  /** "namespace/name". */
  readonly serviceAccount: string
}

/** Resolves to who `token` is. Throws an AuthError; its text goes to the peer and never has the token. */
export type Authenticate = (token: string | undefined, peer: string) => Promise<Identity>

/** Why a stream was not let in, with its gRPC status. */
export class AuthError extends Error {
  override readonly name = 'AuthError'
  readonly code: AuthCode

  constructor(code: AuthCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/**
 * - `UNAUTHENTICATED`: no token, or none that is valid here.
 * - `PERMISSION_DENIED`: a valid token of somebody who may not.
 * - `RESOURCE_EXHAUSTED`: this peer failed too often, or too many tokens are being looked at.
 * - `UNAVAILABLE`: the token could not be looked at; the peer is not to blame.
 */
export type AuthCode =
  | typeof status.UNAUTHENTICATED
  | typeof status.PERMISSION_DENIED
  | typeof status.RESOURCE_EXHAUSTED
  | typeof status.UNAVAILABLE

/** The token of an `authorization: Bearer` header (RFC 6750 2.1); undefined when there is none. */
export function bearerOf(header: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(header ?? '')?.[1]
}
