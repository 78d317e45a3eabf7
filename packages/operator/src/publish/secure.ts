// SPDX-License-Identifier: Apache-2.0
// Chooses how streams are protected where the operator listens: nothing on a UNIX socket or loopback, else TLS from its own
// CA and tokens of node pods.
import { isLocalAddress } from '@pillion/contract'
import type { Registry } from 'prom-client'
import type { ApiClient } from '../watch/client.ts'
import { DirectoryBundleStore, KubernetesBundleStore } from './ca-store.ts'
import { Certificates } from './certificates.ts'
import { PublishMetrics } from './metrics.ts'
import type { ServeOptions } from './server.ts'
import { TokenGate } from './token-gate.ts'
import { tokenReview } from './token-review.ts'

export interface SecureOptions {
  readonly listen: string
  readonly namespace: string
  /** Directory of the CA; '': Secret and ConfigMap of the namespace, or no TLS where nobody else reaches `listen`. */
  readonly tlsDir: string
  /** Names and addresses beside the Service's, comma separated. */
  readonly tlsNames: string
  /** undefined: no cluster, so nobody who knows tokens. */
  readonly client: Pick<ApiClient, 'request'> | undefined
  readonly isLeader: () => boolean
  readonly registry: Registry
  readonly onError: (message: string) => void
}

export interface Secured {
  /** For `serve`, which refuses what is still open to the network. */
  readonly options: ServeOptions
  /** Looks at the store now: this replica may have to make or renew what is in it. */
  refresh(): Promise<void>
  close(): Promise<void>
}

export async function secureServing(options: SecureOptions): Promise<Secured> {
  const { listen, namespace, tlsDir, client, isLeader, onError } = options
  const metrics = new PublishMetrics(options.registry)
  const isLocal = isLocalAddress(listen)
  const store = storeOf(tlsDir, isLocal ? undefined : client, namespace)
  if (store === undefined) {
    const nothing = (): Promise<void> => Promise.resolve()
    return { options: { metrics }, refresh: nothing, close: nothing }
  }
  const given = options.tlsNames.split(',').filter(Boolean)
  const names = [...new Set([`pillion-operator.${namespace}.svc`, ...given])]
  const certificates = new Certificates({ store, names, isLeader, onError, metrics })
  await certificates.start()
  const close = (): Promise<void> => certificates.close()
  const refresh = (): Promise<void> => certificates.refresh()
  const tls = certificates.credentials
  if (isLocal || client === undefined)
    return { options: { metrics, tls }, refresh, close }
  const gate = new TokenGate(tokenReview({ client, namespace }), {
    onEvent: (event) => metrics.token(event),
  })
  return { options: { metrics, tls, authenticate: gate.authenticate }, refresh, close }
}

function storeOf(tlsDir: string, client: SecureOptions['client'], namespace: string) {
  if (tlsDir !== '') return new DirectoryBundleStore(tlsDir)
  return client && new KubernetesBundleStore({ client, namespace })
}
