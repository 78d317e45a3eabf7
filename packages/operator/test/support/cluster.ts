// SPDX-License-Identifier: Apache-2.0
// A cluster for tests: an API server with our CRDs and those of the Gateway API, and a line to it that can be cut.
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import type { Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import type {
  ApiServer,
  Client,
  KubeObject,
} from '../../../../test/support/apiserver/index.ts'
import { ApiClient } from '../../src/watch/client.ts'
import { compiledResources, crdResource, pathOf } from '../../src/watch/resources.ts'
import { until } from './running.ts'

const crdDir = join(import.meta.dirname, '../../../../manifests/crd')

/** TCP between an operator and its API server. Cut, it resets what is open and refuses what is new. */
export class Line {
  readonly #server = createServer()
  readonly #sockets = new Set<Socket>()
  #isCut = false
  /** Bytes are taken and not passed on, as by a firewall that forgot the connection. */
  isMute = false

  async open(port: number): Promise<number> {
    this.#server.on('connection', (downstream) => {
      if (this.#isCut) {
        downstream.destroy()
        return
      }
      const upstream = connect(port, '127.0.0.1')
      for (const [from, to] of [
        [downstream, upstream],
        [upstream, downstream],
      ] as const) {
        this.#sockets.add(from)
        from.on('data', (bytes) => {
          if (!this.isMute) to.write(bytes)
        })
        from.on('error', () => undefined)
        from.on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
      }
    })
    await new Promise<void>((resolve) =>
      this.#server.listen(0, '127.0.0.1', () => resolve()),
    )
    return (this.#server.address() as AddressInfo).port
  }

  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  heal(): void {
    this.#isCut = false
  }

  close(): void {
    this.#server.close()
    this.cut()
  }
}

export interface Cluster {
  readonly server: ApiServer
  /** As an administrator, past every line. */
  readonly admin: Client
  /** Another process's way to the server. */
  line(): Promise<{ line: Line; kubeconfig: string; client: ApiClient }>
  /** Creates or replaces the objects of a YAML text. */
  apply(yaml: string): Promise<void>
  get(kind: string, namespace: string, name: string): Promise<KubeObject>
  remove(kind: string, namespace: string, name: string): Promise<void>
}

function pathFor(kind: string, namespace = '', name = '', subresource = ''): string {
  const resource =
    kind === crdResource.kind
      ? crdResource
      : compiledResources.find((each) => each.kind === kind)
  if (resource === undefined) throw new Error(`${kind} is not watched`)
  return name === ''
    ? pathOf({ ...resource, namespace })
    : pathOf(resource, { namespace, name }, subresource)
}

/** Takes over a server; it is closed with the test. Every kind has its CRD unless `crds` names the few to install. */
export async function clusterOf(
  t: Test,
  server: ApiServer,
  crds: readonly string[] = allCrds(),
): Promise<Cluster> {
  t.teardown(() => server.close())
  const admin = server.client()
  const cluster: Cluster = {
    server,
    admin,
    line: async () => {
      const line = new Line()
      const url = new URL(server.url)
      const port = await line.open(Number(url.port))
      const kubeconfig = server
        .kubeconfig()
        .replace(server.url, `https://127.0.0.1:${port}`)
      const config = new KubeConfig()
      config.loadFromString(kubeconfig)
      const client = new ApiClient(config)
      t.teardown(() => {
        client.close()
        line.close()
      })
      return { line, kubeconfig, client }
    },
    apply: async (yaml) => {
      for (const document of parseAllDocuments(yaml)) {
        const object = document.toJS() as KubeObject | null
        if (object !== null) await put(admin, object)
      }
    },
    get: async (kind, namespace, name) => {
      const { body } = await admin.get(pathFor(kind, namespace, name))
      return body as unknown as KubeObject
    },
    remove: async (kind, namespace, name) => {
      const { code } = await admin.delete(pathFor(kind, namespace, name))
      if (code >= 300) throw new Error(`DELETE ${kind} ${namespace}/${name}: ${code}`)
    },
  }
  await cluster.apply(crds.join('\n---\n'))
  await until('CRDs are served', async () => {
    const codes = await Promise.all(
      crds.map(async (text) => {
        const kind = /kind: ([A-Za-z0-9]+)\n +listKind|names: \{kind: (\w+)/.exec(text)
        return (await admin.get(pathFor(kind?.[1] ?? kind?.[2] ?? ''))).code
      }),
    )
    return codes.every((code) => code === 200)
  })
  return cluster
}

async function put(admin: Client, object: KubeObject): Promise<void> {
  const { kind, metadata, status } = object
  const { name, namespace } = metadata
  const path = pathFor(kind, namespace, name)
  const found = await admin.get(path)
  const exists = found.code === 200
  const before = (found.body['metadata'] ?? {}) as { resourceVersion?: string }
  const { resourceVersion } = before
  const reply = exists
    ? await admin.update(path, {
        ...object,
        metadata: { ...metadata, resourceVersion },
      })
    : await admin.create(pathFor(kind, namespace), object)
  if (reply.code >= 300) throw new Error(`${path}: ${JSON.stringify(reply.body)}`)
  // Creating drops the status, as for everybody who is not its controller.
  if (status === undefined) return
  const { code, body } = await admin.merge(pathFor(kind, namespace, name, 'status'), {
    status,
  })
  if (code >= 300) throw new Error(`${path}/status: ${JSON.stringify(body)}`)
}

function allCrds(): string[] {
  return [...ownCrds(), gatewayCrd('HTTPRoute'), gatewayCrd('GRPCRoute')]
}

export function ownCrds(): string[] {
  return readdirSync(crdDir)
    .filter((file) => file.startsWith('mesh.pillion.dev_'))
    .map((file) => readFileSync(join(crdDir, file), 'utf8'))
}

const parentRefSchema =
  '{group: {type: string}, kind: {type: string}, namespace: {type: string}, name: {type: string}, sectionName: {type: string}, port: {type: integer, format: int32}}'

/** As much of a CRD of the Gateway API as the operator can tell from the real one. */
export const gatewayCrd = (kind: string): string => `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: ${kind.toLowerCase()}s.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: 'https://github.com/kubernetes-sigs/gateway-api/pull/1'}
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: ${kind}, listKind: ${kind}List, plural: ${kind.toLowerCase()}s, singular: ${kind.toLowerCase()}}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            apiVersion: {type: string}
            kind: {type: string}
            metadata: {type: object}
            spec:
              type: object
              properties:
                parentRefs:
                  type: array
                  items: {type: object, properties: ${parentRefSchema}}
                rules:
                  type: array
                  items: {type: object, x-kubernetes-preserve-unknown-fields: true}
                hostnames:
                  type: array
                  items: {type: string}
            status:
              type: object
              required: [parents]
              properties:
                parents:
                  type: array
                  maxItems: 32
                  x-kubernetes-list-type: atomic
                  items:
                    type: object
                    required: [controllerName, parentRef]
                    properties:
                      controllerName: {type: string}
                      parentRef: {type: object, required: [name], properties: ${parentRefSchema}}
                      conditions:
                        type: array
                        x-kubernetes-list-type: map
                        x-kubernetes-list-map-keys: [type]
                        items:
                          type: object
                          required: [lastTransitionTime, message, reason, status, type]
                          properties:
                            type: {type: string}
                            status: {type: string, enum: ['True', 'False', Unknown]}
                            reason: {type: string, minLength: 1}
                            message: {type: string, maxLength: 32768}
                            observedGeneration: {type: integer, format: int64, minimum: 0}
                            lastTransitionTime: {type: string, format: date-time}
`

export const namespace = (name: string): string => `
---
apiVersion: v1
kind: Namespace
metadata: {name: ${name}}
`

export const service = (namespace: string, name: string, port = 80): string => `
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec: {ports: [{name: http, port: ${port}}]}
`

export const route = (
  namespace: string,
  name: string,
  path: string,
  service = 'web',
): string => `
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  parentRefs: [{group: '', kind: Service, name: ${service}}]
  rules: [{matches: [{path: {type: Exact, value: ${path}}}], backendRefs: [{name: ${service}, port: 80}]}]
`
