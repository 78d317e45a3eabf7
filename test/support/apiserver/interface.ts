// SPDX-License-Identifier: Apache-2.0
// What a test may use of any API server, the stand-in or the real one.
import { stringify } from 'yaml'
import type { Client } from './client.ts'

/** Where a server is, and as whom to speak to it. */
export interface AccessTo {
  readonly url: string
  /** PEM of the CA; absent for plain HTTP. */
  readonly ca?: string
  readonly token?: string
  /** PEM of a client certificate and its key, where there is no token. */
  readonly cert?: string
  readonly key?: string
}

/** A running API server. */
export interface ApiServer {
  readonly name: string
  readonly url: string
  /** PEM of the CA that signed its certificate. */
  readonly ca: string
  /**
   * Text of a kubeconfig for a user, who may do what RBAC lets them; `admin` may do everything. Service accounts are
   * `system:serviceaccount:NAMESPACE:NAME`.
   */
  kubeconfig(user?: string, groups?: readonly string[]): string
  /** A plain client that speaks as a user. Closed with the server. */
  client(user?: string, groups?: readonly string[]): Client
  /** Stops answering: connections hang, as on a frozen machine. */
  pause(): void
  resume(): void
  /** Goes away, keeping its objects; `start` brings it back on the same port, where revisions of before are too old to watch from. */
  stop(): Promise<void>
  start(): Promise<void>
  restart(): Promise<void>
  close(): Promise<void>
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** A kubeconfig with one context. */
export function kubeconfigText(access: AccessTo): string {
  const { url, ca, token, cert, key } = access
  const user =
    cert === undefined || key === undefined
      ? { token }
      : { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) }
  const authority = ca === undefined ? {} : { 'certificate-authority-data': base64(ca) }
  return stringify({
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
    clusters: [{ name: 'test', cluster: { server: url, ...authority } }],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  })
}
