// SPDX-License-Identifier: Apache-2.0
// Runs network plans and removes namespaces.
import { readdirSync } from 'node:fs'
import { errnoOf } from '../errors.ts'
import { run } from '../process/run.ts'
import { labNetns, type NodeInfo } from './addresses.ts'
import type { NetPlan } from './plan.ts'

/** Runs every step of `plan` in order. Throws a LabError with what iproute2 said. */
export async function applyPlan(plan: NetPlan): Promise<void> {
  // The first step makes the namespaces that the others configure; those are independent of each other, but two
  // cores gain nothing from running them at once.
  for (const { netns, lines } of plan) {
    if (lines.length === 0) continue
    const where = netns === '' ? [] : ['-n', netns]
    // "-6 route" is no batch line: iproute2 takes the family per process, and only infers it from addresses for most
    // objects. Splitting keeps the plan readable.
    const main = lines.filter((line) => !line.startsWith('-6 '))
    const six = lines
      .filter((line) => line.startsWith('-6 '))
      .map((line) => line.slice(3))
    await run('ip', [...where, '-batch', '-'], { input: main.join('\n') + '\n' })
    if (six.length > 0) {
      await run('ip', [...where, '-6', '-batch', '-'], { input: six.join('\n') + '\n' })
    }
  }
}

const nodeSysctls = {
  'net/ipv4/ip_forward': 1,
  'net/ipv6/conf/all/forwarding': 1,
  // Replies of the proxy and of pods may take another device than the request came from.
  'net/ipv4/conf/all/rp_filter': 0,
  'net/ipv4/conf/default/rp_filter': 0,
} as const

/** Makes the node a router. /proc/sys/net shows the namespace of whoever opens it, hence nsenter. */
export async function makeRouter(node: NodeInfo): Promise<void> {
  const script = Object.entries(nodeSysctls)
    .map(([name, value]) => `echo ${value} > /proc/sys/${name}`)
    .join(' && ')
  await run('nsenter', [`--net=/run/netns/${node.netns}`, '/bin/sh', '-c', script])
}

/** Names of the network namespaces of a lab that exist now. */
export function listNetns(): string[] {
  try {
    return readdirSync('/run/netns').filter((name) => labNetns.test(name))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

/** Deletes those network namespaces of a lab that exist; their links go with them. */
export async function deleteNetns(names: readonly string[]): Promise<void> {
  const existing = new Set(listNetns())
  const doomed = names.filter((name) => existing.has(name))
  if (doomed.length === 0) return
  const lines = doomed.map((name) => `netns del ${name}\n`).join('')
  await run('ip', ['-force', '-batch', '-'], { input: lines })
}
