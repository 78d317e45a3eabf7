// SPDX-License-Identifier: Apache-2.0
// Runs a suite once against every API server that is available.
import t, { type Test } from 'tap'
import {
  apiServers,
  type ApiServer,
  type Client,
  type Json,
  type KubeObject,
  type Reply,
} from '../../support/apiserver/index.ts'

/** The suite as a test for each server; what it makes stays in namespaces of its own. */
export function againstEach(suite: (t: Test, server: ApiServer) => Promise<void>): void {
  for (const { name, start } of apiServers()) {
    t.test(name, async (t) => {
      const server = await start()
      t.teardown(() => server.close())
      await suite(t, server)
    })
  }
}

/** The object in an answer that must be a success. */
export function object({ code, body }: Reply): KubeObject {
  if (code >= 300) throw new Error(`answered ${code}: ${JSON.stringify(body)}`)
  return body as unknown as KubeObject
}

/** The items of a list. */
export const items = (reply: Reply): KubeObject[] =>
  object(reply)['items'] as KubeObject[]

/** Names of the items of a list. */
export const names = (reply: Reply): string[] =>
  items(reply).map(({ metadata }) => metadata.name)

/** Polls until `found` has a value; fails after ten seconds. */
export async function eventually<T>(found: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const value = await found()
    if (value !== undefined) return value
    if (Date.now() > deadline) throw new Error(`not in ten seconds: ${found.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Makes a namespace; returns the path of one of its collections. */
export async function namespace(
  client: Client,
  name: string,
): Promise<(plural: string) => string> {
  const metadata = { name }
  object(
    await client.create('/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata,
    }),
  )
  return (plural) => `/api/v1/namespaces/${name}/${plural}`
}

export const configMap = (name: string, data: Json = {}, labels: Json = {}): Json => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data },
})

/** A definition of `Widget` in `test.example.com/v1`, with a status and a list by key. */
export const widgets = (plural = 'widgets', kind = 'Widget'): Json => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.test.example.com` },
  spec: {
    ...{ group: 'test.example.com', scope: 'Namespaced', names: { plural, kind } },
    versions: [
      {
        ...{ name: 'v1', served: true, storage: true, subresources: { status: {} } },
        schema: { openAPIV3Schema: widgetSchema },
      },
    ],
  },
})

const text = { type: 'string' }
const widgetSchema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        size: { type: 'integer', minimum: 1, default: 3 },
        colour: { ...text, enum: ['red', 'blue'] },
        min: { type: 'integer' },
        max: { type: 'integer' },
        parts: { type: 'array', items: text },
        free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      },
      'x-kubernetes-validations': [
        {
          rule: '!has(self.min) || !has(self.max) || self.min <= self.max',
          message: 'min must not be above max',
        },
      ],
    },
    status: {
      type: 'object',
      properties: {
        conditions: {
          ...{ type: 'array', 'x-kubernetes-list-type': 'map' },
          'x-kubernetes-list-map-keys': ['type'],
          items: {
            ...{ type: 'object', required: ['type', 'status'] },
            properties: { type: text, status: text, reason: text },
          },
        },
      },
    },
  },
}

export const widget = (name: string, rest: Json = {}): Json => ({
  ...{ apiVersion: 'test.example.com/v1', kind: 'Widget', metadata: { name }, ...rest },
})

/** Installs a definition and waits until its kind is served. */
export async function install(client: Client, crd: Json): Promise<void> {
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
  const { metadata, spec } = object(await client.create(path, crd))
  const { group, names } = spec as { group: string; names: { plural: string } }
  await eventually(async () => {
    const found = object(await client.get(`${path}/${metadata.name}`))
    const conditions = (found.status?.['conditions'] ?? []) as Json[]
    const established = conditions.find(({ type }) => type === 'Established')
    if (established?.['status'] !== 'True') return undefined
    const reply = await client.get(`/apis/${group}/v1/${names.plural}`)
    return reply.code === 200 ? true : undefined
  })
}
