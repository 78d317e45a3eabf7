// SPDX-License-Identifier: Apache-2.0
// Where the bundle of the certificate authority is kept: a directory (lab, tests), or a Secret and a ConfigMap.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, messageOf, OperatorError } from '../errors.ts'
import { ApiError, type ApiClient } from '../watch/client.ts'
import { trustOf, type Bundle } from './ca.ts'

/** A bundle with the version under which it was read. */
export interface Stored {
  readonly bundle: Bundle
  readonly version: string
}

export interface BundleStore {
  /** undefined: there is none yet. */
  read(): Promise<Stored | undefined>
  /**
   * Writes over the version that `before` names (undefined: creates). A write by somebody else in between is an error, and
   * the caller reads again.
   */
  write(bundle: Bundle, before: Stored | undefined): Promise<void>
  /** Makes what nodes trust equal to `trustOf(bundle)`; writes only a difference. */
  publish(bundle: Bundle): Promise<void>
}

/** `tls.json` (mode 0600) and, for nodes, `ca.crt` in a directory. One operator at a time, as for the directory of objects. */
export class DirectoryBundleStore implements BundleStore {
  readonly #dir: string

  constructor(dir: string) {
    this.#dir = dir
  }

  async read(): Promise<Stored | undefined> {
    const file = join(this.#dir, 'tls.json')
    const text = readIfThere(file)
    if (text === undefined) return undefined
    try {
      const fields = JSON.parse(text) as Fields
      return { bundle: bundleOf(fields), version: '' }
    } catch (error) {
      throw new OperatorError(
        'STATE',
        `${file}: ${messageOf(error)}; remove it for a new CA`,
        { cause: error },
      )
    }
  }

  async write(bundle: Bundle): Promise<void> {
    mkdirSync(this.#dir, { recursive: true, mode: 0o755 })
    this.#put('tls.json', `${JSON.stringify(fieldsOf(bundle), undefined, 2)}\n`, 0o600)
  }

  async publish(bundle: Bundle): Promise<void> {
    const trust = trustOf(bundle)
    if (readIfThere(join(this.#dir, 'ca.crt')) !== trust)
      this.#put('ca.crt', trust, 0o644)
  }

  #put(name: string, text: string, mode: number): void {
    const file = join(this.#dir, name)
    writeFileSync(`${file}.new`, text, { mode })
    renameSync(`${file}.new`, file)
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw new OperatorError('STATE', `${file}: ${messageOf(error)}`, { cause: error })
  }
}

interface StoredObject {
  readonly metadata?: { readonly resourceVersion?: string }
  readonly data?: Readonly<Record<string, string>>
}

export interface KubernetesBundleStoreOptions {
  readonly client: Pick<ApiClient, 'request'>
  readonly namespace: string
  /** Default `pillion-operator-tls`. */
  readonly secret?: string
  /** Default `pillion-ca`. */
  readonly configMap?: string
}

/**
 * A Secret that only the operator reads, and a ConfigMap that node pods mount. Needs get, create and update on these two
 * names. A write over another version answers 409, so that two replicas never make two CAs.
 */
export class KubernetesBundleStore implements BundleStore {
  readonly #client: Pick<ApiClient, 'request'>
  readonly #namespace: string
  readonly #secret: string
  readonly #configMap: string

  constructor(options: KubernetesBundleStoreOptions) {
    this.#client = options.client
    this.#namespace = options.namespace
    this.#secret = options.secret ?? 'pillion-operator-tls'
    this.#configMap = options.configMap ?? 'pillion-ca'
  }

  async read(): Promise<Stored | undefined> {
    const found = await this.#get('secrets', this.#secret)
    if (found === undefined) return undefined
    const fields: Record<string, string> = {}
    for (const [name, value] of Object.entries(found.data ?? {}))
      fields[name] = Buffer.from(value, 'base64').toString('utf8')
    try {
      const version = found.metadata?.resourceVersion ?? ''
      return { bundle: bundleOf(fields), version }
    } catch (error) {
      throw new OperatorError(
        'STATE',
        `Secret ${this.#namespace}/${this.#secret}: ${messageOf(error)}; delete it for a new CA`,
        { cause: error },
      )
    }
  }

  async write(bundle: Bundle, before: Stored | undefined): Promise<void> {
    const data = Object.fromEntries(
      Object.entries(fieldsOf(bundle)).map(([name, text]) => [
        name,
        Buffer.from(text).toString('base64'),
      ]),
    )
    const object = { kind: 'Secret', type: 'Opaque', data }
    await this.#put('secrets', this.#secret, object, before?.version)
  }

  async publish(bundle: Bundle): Promise<void> {
    const trust = trustOf(bundle)
    const found = await this.#get('configmaps', this.#configMap)
    if (found?.data?.['ca.crt'] === trust) return
    const object = { kind: 'ConfigMap', data: { 'ca.crt': trust } }
    const version = found?.metadata?.resourceVersion
    await this.#put('configmaps', this.#configMap, object, version)
  }

  async #get(plural: string, name: string): Promise<StoredObject | undefined> {
    const path = `/api/v1/namespaces/${this.#namespace}/${plural}/${name}`
    try {
      return await this.#client.request<StoredObject>({ path })
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined
      throw error
    }
  }

  async #put(
    plural: string,
    name: string,
    object: object,
    resourceVersion: string | undefined,
  ): Promise<void> {
    const isNew = resourceVersion === undefined
    const path = `/api/v1/namespaces/${this.#namespace}/${plural}`
    const labels = { 'app.kubernetes.io/managed-by': 'pillion-operator' }
    const metadata = { name, namespace: this.#namespace, labels }
    await this.#client.request({
      method: isNew ? 'POST' : 'PUT',
      path: isNew ? path : `${path}/${name}`,
      body: {
        apiVersion: 'v1',
        ...object,
        metadata: isNew ? metadata : { ...metadata, resourceVersion },
      },
    })
  }
}

/** Keys as in a Secret of type kubernetes.io/tls, and those that this type does not know. */
type Fields = Readonly<Record<string, string | undefined>>

function fieldsOf({ ca, next, previous, serving }: Bundle): Record<string, string> {
  return {
    'ca.crt': ca.cert,
    'ca.key': ca.key,
    'tls.crt': serving.cert,
    'tls.key': serving.key,
    ...(next !== undefined && { 'next-ca.crt': next.cert, 'next-ca.key': next.key }),
    ...(previous !== undefined && { 'previous-ca.crt': previous }),
  }
}

/** Throws a TypeError that names the field. */
function bundleOf(fields: Fields): Bundle {
  const field = (name: string): string => {
    const value = fields[name]
    if (typeof value !== 'string' || !value.startsWith('-----BEGIN '))
      throw new TypeError(`${name} is missing or no PEM text`)
    return value
  }
  const pair = (name: string) => ({
    cert: field(`${name}.crt`),
    key: field(`${name}.key`),
  })
  return {
    ca: pair('ca'),
    next: fields['next-ca.crt'] === undefined ? undefined : pair('next-ca'),
    previous:
      fields['previous-ca.crt'] === undefined ? undefined : field('previous-ca.crt'),
    serving: pair('tls'),
  }
}
