// SPDX-License-Identifier: Apache-2.0
// pillion lab up, mesh on, down.
import { labUp, parseOptions, remains, requireRoot, teardown } from '@pillion/lab'
import { colors } from '../colors.ts'
import { lab, labStatus } from '../client.ts'
import { print, Steps } from '../output.ts'

export interface UpFlags {
  nodes: string
  mesh: string
  timeout: string
  kubeconfig?: string
  filters?: string
  filterSecrets?: string
  keep?: boolean
}

export async function up(dir: string | undefined, flags: UpFlags): Promise<void> {
  const options = parseOptions([
    ...(dir === undefined ? [] : ['--dir', dir]),
    ...(flags.kubeconfig === undefined ? [] : ['--kubeconfig', flags.kubeconfig]),
    ...(flags.filters === undefined ? [] : ['--filters', flags.filters]),
    ...(flags.filterSecrets === undefined
      ? []
      : ['--filter-secrets', flags.filterSecrets]),
    ...['--nodes', flags.nodes],
    ...['--mesh', flags.mesh, '--timeout', flags.timeout],
  ])
  requireRoot()
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => interrupt.abort())
  }
  const steps = new Steps()
  try {
    await labUp({
      ...options,
      keep: flags.keep === true,
      signal: interrupt.signal,
      onProgress: ({ phase, message }) => {
        if (phase !== 'up' && phase !== 'failed') steps.at(phase, message)
      },
    })
  } catch (error) {
    steps.fail()
    throw error
  }
  steps.done()
  const { pods, nodes } = await labStatus()
  print(`lab is up: ${pods.length} pods on ${nodes.length} nodes (pillion lab get pods)`)
  if (!options.mesh) {
    print(
      colors.yellow(
        'without mesh: cluster addresses of Services do not work, pod addresses do',
      ),
    )
  }
}

export async function meshOn(): Promise<void> {
  const steps = new Steps()
  steps.at('mesh', 'operator, agents and proxies')
  try {
    await lab('POST', '/mesh')
  } catch (error) {
    steps.fail()
    throw error
  }
  steps.done()
}

export async function replaceProxy(
  node: string,
  { gap = false }: { gap?: boolean },
): Promise<void> {
  const steps = new Steps()
  steps.at('proxy', gap ? 'the old one ends first' : 'the new one takes over')
  try {
    const query = new URLSearchParams({ node, gap: String(gap) })
    await lab('POST', `/replace?${query}`)
  } catch (error) {
    steps.fail()
    throw error
  }
  steps.done()
}

export async function down(): Promise<void> {
  requireRoot()
  if (remains().length === 0) {
    print('no lab is there')
    return
  }
  const steps = new Steps()
  steps.at('down', 'processes, namespaces, cgroups, pins')
  try {
    await teardown()
  } catch (error) {
    steps.fail()
    throw error
  }
  steps.done()
}
