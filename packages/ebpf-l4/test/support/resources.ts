// SPDX-License-Identifier: Apache-2.0
// Resources as the operator would send them, from a few words.
import {
  Acceleration,
  applyDelta,
  emptyResources,
  FailureMode,
  formatEndpoint,
  L7Protocol,
  parseAddress,
  Protocol,
  type Address,
  type DirectionPolicy,
  type Endpoint,
  type Resource,
  type Resources,
  type ServicePort,
  type SubjectPolicy,
  type Workload,
} from '@pillion/contract'

export function resourcesOf(...upserts: Resource[]): Resources {
  return change(emptyResources(), upserts).resources
}

export function change(
  resources: Resources,
  upserts: Resource[],
  removals: { kind: string; name: string }[] = [],
) {
  return applyDelta(resources, {
    version: 1,
    epoch: 'e',
    full: false,
    upserts,
    removals,
    replaced: [],
  })
}

export function servicePort(
  id: number,
  addresses: string[],
  rest: Partial<ServicePort> = {},
): Resource {
  const value: ServicePort = {
    id,
    namespace: 'shop',
    service: `s${id}`,
    port: 80,
    portName: '',
    protocol: Protocol.TCP,
    addresses: addresses.map(parseAddress),
    l7Protocol: L7Protocol.UNSPECIFIED,
    failureMode: FailureMode.UNSPECIFIED,
    externalAddresses: [],
    nodePort: 0,
    localOnly: false,
    affinitySeconds: 0,
    ...rest,
  }
  return { name: `shop/s${id}:80/TCP`, body: { $case: 'servicePort', value } }
}

export function endpoint(
  serviceId: number,
  address: string,
  rest: Partial<Endpoint> = {},
): Resource {
  const value: Endpoint = {
    serviceId,
    address: parseAddress(address),
    port: 8080,
    weight: 1,
    ready: true,
    terminating: false,
    identity: 300,
    node: 'node-1',
    namespace: 'shop',
    pod: 'p',
    workload: 'w',
    serviceAccount: 'default',
    app: 'w',
    version: 'v1',
    zone: '',
    hintZones: [],
    hintNodes: [],
    ...rest,
  }
  const name = `shop/s${serviceId}:80/TCP|${formatEndpoint(value.address, value.port)}`
  return { name, body: { $case: 'endpoint', value } }
}

export function address(text: string, rest: Partial<Address> = {}): Resource {
  const value: Address = {
    address: parseAddress(text),
    prefixLength: 128,
    identity: 300,
    node: 'node-1',
    owner: 'shop/p',
    nodeAddress: false,
    ...rest,
  }
  return {
    name: `${text}/${value.prefixLength}`,
    body: { $case: 'address', value },
  }
}

export function workload(name: string, rest: Partial<Workload> = {}): Resource {
  const value: Workload = {
    uid: `uid-${name}`,
    namespace: 'shop',
    name,
    identity: 300,
    addresses: [],
    workload: name,
    serviceAccount: 'default',
    app: name,
    version: 'v1',
    acceleration: Acceleration.UNSPECIFIED,
    hostNetwork: false,
    ...rest,
  }
  return { name: `shop/${name}`, body: { $case: 'workload', value } }
}

export function policy(
  identity: number,
  ingress?: DirectionPolicy,
  egress?: DirectionPolicy,
  shadow: Pick<Partial<SubjectPolicy>, 'shadowIngress' | 'shadowEgress'> = {},
): Resource {
  const value = {
    ...{ identity, ingress, egress },
    ...{ shadowIngress: undefined, shadowEgress: undefined },
    ...shadow,
  }
  return { name: String(identity), body: { $case: 'subjectPolicy', value } }
}
