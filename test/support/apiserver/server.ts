// SPDX-License-Identifier: Apache-2.0
// The stand-in as a whole: starts the parts, and gives tests its knobs.
import { Admission } from './admission.ts'
import { Tokens, userNamed } from './auth.ts'
import { Authority } from './certificate.ts'
import { Client } from './client.ts'
import { runCrdControllers } from './crd.ts'
import { HttpFront, type RecordedCall } from './http.ts'
import { kubeconfigText, type AccessTo, type ApiServer } from './interface.ts'
import type { RequestInfo } from './request.ts'
import { crdCollection, Resources } from './resources.ts'
import { Store } from './store.ts'
import type { KubeObject, User } from './types.ts'
import { validateCustom } from './validate.ts'
import { Writes } from './writes.ts'

/** How the stand-in is started; everything may be left out. */
export interface ApiServerOptions {
  /** Obey the RBAC objects in the store (on); off, everyone signed in may do everything. */
  readonly rbac?: boolean
  /** TLS with a CA made for the occasion (on). */
  readonly tls?: boolean
  /** Port on 127.0.0.1; a free one. */
  readonly port?: number
  /** Interval of bookmarks, ms: 60 000 as on the real server. */
  readonly bookmarkMs?: number
  /** Changes remembered before the oldest are compacted. */
  readonly historyLimit?: number
}

/** The stand-in: what a real server offers, and the knobs that a real one has not. */
export interface StandIn extends ApiServer {
  /** Every call that was made, in order. */
  readonly calls: readonly RecordedCall[]
  readonly revision: number
  /** Watches that are open now. */
  readonly openWatches: number
  /** Makes a token valid for a user, whom TokenReview and RBAC then see. Returns it. */
  issueToken(
    user: User,
    options?: { token?: string; audiences?: readonly string[] },
  ): string
  revokeToken(token: string): void
  /** An object straight from the store. `collection` is `GROUP/PLURAL`, for example `/pods`. */
  stored(collection: string, name: string, namespace?: string): KubeObject | undefined
  /** Forgets all history: watches and lists from before are answered 410. */
  compact(): void
  /** Cuts all open watches. */
  closeWatches(): void
  /** Sends a bookmark on all watches that want them, now. */
  bookmark(): void
  /** Pause before each watch event, ms; 0 ends it. */
  slowWatch(ms: number): void
  /** The next `count` requests (that match) are answered with this status. */
  failNext(count: number, code: number, matches?: (info: RequestInfo) => boolean): void
}

const bootstrapOptions = { manager: 'kube-apiserver', dryRun: false, strict: false }

/** What a new cluster holds before anyone has done anything. */
function bootstrap(writes: Writes, resources: Resources): void {
  const create = (path: [string, string, string], object: object): void => {
    const resource = resources.find(...path)
    if (resource === undefined) throw new Error(`not served: ${path.join('/')}`)
    const { metadata } = object as KubeObject
    writes.create(resource, metadata.namespace, object as KubeObject, bootstrapOptions)
  }
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    create(['', 'v1', 'namespaces'], {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
    })
  create(['', 'v1', 'services'], {
    ...{ apiVersion: 'v1', kind: 'Service' },
    metadata: { name: 'kubernetes', namespace: 'default' },
    spec: { ports: [{ name: 'https', port: 443, targetPort: 6443 }] },
  })
}

/** Starts the stand-in. The caller closes it. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<StandIn> {
  const store = new Store(options.historyLimit)
  const resources = new Resources(store)
  const writes = new Writes(store, new Admission(validateCustom))
  const tokens = new Tokens(store)
  const parts = { store, resources, writes, tokens, rbac: options.rbac ?? true }
  const authority = options.tls === false ? undefined : new Authority()
  const front = new HttpFront(parts, {
    ...(authority && { tls: authority.serverCertificate() }),
    bookmarkMs: options.bookmarkMs ?? 60_000,
  })
  const definitions = resources.find(
    'apiextensions.k8s.io',
    'v1',
    crdCollection.split('/')[1] ?? '',
  )
  if (definitions === undefined) throw new Error('definitions are not served')
  runCrdControllers(store, writes, definitions, (gone) => front.endWatches(gone))
  bootstrap(writes, resources)
  await front.start(options.port)

  const url = `${authority ? 'https' : 'http'}://127.0.0.1:${front.port}`
  const ca = authority?.cert
  const access = accessFor(tokens, { url, ...(ca === undefined ? {} : { ca }) })
  const clients: Client[] = []
  // The watch cache of a restarted server starts at the newest revision: what was seen before is too old (410).
  const start = async (): Promise<void> => {
    store.compact()
    await front.start()
  }
  return {
    ...{ name: 'stand-in', url, ca: ca ?? '', calls: front.calls },
    kubeconfig: (user = 'admin', groups) => kubeconfigText(access(user, groups)),
    client: (user = 'admin', groups) => {
      const client = new Client(access(user, groups))
      clients.push(client)
      return client
    },
    get revision() {
      return store.revision
    },
    get openWatches() {
      return front.watches.size
    },
    issueToken: (user, how) => tokens.issue(user, how),
    revokeToken: (token) => tokens.revoke(token),
    stored: (collection, name, namespace) =>
      store.get(collection, `${namespace ?? ''}/${name}`),
    compact: () => store.compact(),
    closeWatches: () => {
      for (const watch of front.watches) watch.cut()
    },
    bookmark: () => {
      for (const watch of front.watches) watch.bookmark()
    },
    slowWatch: (ms) => {
      front.knobs.slowMs = ms
    },
    failNext: (count, code, matches = () => true) => {
      front.failures.push({ left: count, code, matches })
    },
    pause: () => front.pause(),
    resume: () => front.resume(),
    stop: () => front.stop(),
    start,
    restart: async () => {
      await front.stop()
      await start()
    },
    close: async () => {
      front.resume()
      for (const client of clients) client.close()
      await front.stop()
    },
  }
}

/** Gives each user one token, at the first question. */
function accessFor(
  tokens: Tokens,
  server: AccessTo,
): (user: string, groups?: readonly string[]) => AccessTo {
  const known = new Map<string, string>()
  return (user, groups) => {
    const key = [user, ...(groups ?? [])].join('\n')
    const token = known.get(key) ?? tokens.issue(userNamed(user, groups))
    known.set(key, token)
    return { ...server, token }
  }
}
