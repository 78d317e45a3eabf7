// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { AddrFlag, ReservedIdentity } from '../../src/index.ts'
import type { Host } from './host.ts'

/** A cable between two hosts: pods reach each other (IPv4), and each side knows who is who on the other. */
export function cable(one: Host, other: Host): void {
  const ends = [
    { from: one, to: other, own: '172.31.0.1', via: '172.31.0.2' },
    { from: other, to: one, own: '172.31.0.2', via: '172.31.0.1' },
  ]
  const lines = [
    `ip -n ${one.tag} link add wire type veth peer name wire netns ${other.tag}`,
  ]
  for (const { from, own } of ends)
    lines.push(
      `ip -n ${from.tag} addr add ${own}/30 dev wire`,
      `ip -n ${from.tag} link set wire up`,
      `ip netns exec ${from.tag} sysctl -qw net.ipv4.ip_forward=1`,
    )
  for (const { from, to, via, own } of ends) {
    lines.push(`ip -n ${from.tag} route add 10.${to.net}.0.0/24 via ${via} src ${own}`)
    from.address(
      own,
      ReservedIdentity.IDENTITY_HOST,
      AddrFlag.ADDR_LOCAL | AddrFlag.ADDR_NODE,
    )
    for (const address of [own, from.ip4])
      to.address(address, ReservedIdentity.IDENTITY_REMOTE_NODE, AddrFlag.ADDR_NODE)
    for (const pod of from.pods.values()) to.address(pod.ip4, pod.identity, 0)
  }
  execFileSync('sh', ['-ec', lines.join('\n')])
  one.apply()
  other.apply()
}
