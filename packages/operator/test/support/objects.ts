// SPDX-License-Identifier: Apache-2.0
// Objects from YAML by the way that the operator itself takes.
import type { ValidationError } from '../../src/api/object.ts'
import { compile, emptyPools, type Compiled } from '../../src/compile/compile.ts'
import { ObjectIndex, type Snapshot } from '../../src/index/objects.ts'
import { Files } from '../../src/watch/files.ts'

export function snapshotOf(yaml: string): {
  snapshot: Snapshot
  errors: readonly ValidationError[]
} {
  const change = new Files().update(new Map([['test.yaml', yaml]]))
  const index = new ObjectIndex()
  index.apply(change)
  return { snapshot: index.snapshot(), errors: change.errors }
}

/** Compiles YAML; throws when an object of it is invalid. */
export function compileYaml(yaml: string): Compiled {
  const { snapshot, errors } = snapshotOf(yaml)
  if (errors.length > 0) throw new Error(JSON.stringify(errors))
  return compile(snapshot, emptyPools())
}

/** Text of a node, pods and services that tests build on. */
export const node = (name: string, address: string): string => `
---
apiVersion: v1
kind: Node
metadata: {name: ${name}}
status: {addresses: [{type: InternalIP, address: ${address}}]}
`

export const pod = (namespace: string, name: string, ip: string, rest = ''): string => `
---
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, uid: uid-${name}, labels: {app: ${name}}}
spec: {nodeName: node-1, containers: [{ports: [{name: http, containerPort: 8080}]}]${rest}}
status: {podIPs: [{ip: ${ip}}]}
`

export const service = (
  namespace: string,
  name: string,
  ip: string,
  extra = '',
): string => `
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec: {clusterIP: ${ip}, ports: [{name: http, port: 80, targetPort: http${extra}}]}
`

export const slice = (
  namespace: string,
  service: string,
  ips: readonly string[],
): string => `
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${service}-1, namespace: ${namespace}, labels: {kubernetes.io/service-name: ${service}}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [${ips.map((ip) => `{addresses: [${ip}]}`).join(', ')}]
`
