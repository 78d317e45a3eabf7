// SPDX-License-Identifier: Apache-2.0
// What every cluster has before anyone applies anything: nodes, namespaces, DNS.
import { join } from 'node:path'
import type { NodeInfo } from '../net/addresses.ts'
import { checkout, paths } from '../paths.ts'
import type { KubeObject } from '../types.ts'

export const dnsAddress = '10.96.0.10'
const dnsAddress6 = 'fd00:10:96::a'

/**
 * kube-system: the DNS server as an ordinary Deployment behind an ordinary Service. Its addresses are fixed where the lab
 * gives addresses out; an API server has a range of its own.
 */
export function builtinObjects(fixedAddresses: boolean): KubeObject[] {
  const labels = { 'k8s-app': 'kube-dns' }
  const metadata = { name: 'kube-dns', namespace: 'kube-system', labels }
  const main = join(checkout, 'packages/lab/src/dns/main.ts')
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } },
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'kube-system' } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        ...(fixedAddresses && {
          clusterIP: dnsAddress,
          clusterIPs: [dnsAddress, dnsAddress6],
        }),
        selector: labels,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, protocol: 'TCP' },
        ],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers: [
              {
                name: 'dns',
                image: 'pillion/lab', // never pulled, but an API server insists
                command: ['node', main, paths.dnsRecords],
                readinessProbe: { tcpSocket: { port: 53 } },
              },
            ],
          },
        },
      },
    },
  ]
}

export function nodeObject(node: NodeInfo): KubeObject {
  const addresses = [...node.addresses, ...node.gateways]
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: node.name, labels: { 'kubernetes.io/hostname': node.name } },
    spec: { podCIDR: node.podRanges[0], podCIDRs: [...node.podRanges] },
    status: {
      addresses: [
        { type: 'Hostname', address: node.name },
        ...addresses.map((address) => ({ type: 'InternalIP', address })),
      ],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  }
}
