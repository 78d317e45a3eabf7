// SPDX-License-Identifier: Apache-2.0
// Command lines and privileges of the mesh's own processes. Pure but for the paths.
import { join } from 'node:path'
import type { NodeInfo } from '../net/addresses.ts'
import {
  checkout,
  nodeCgroup,
  nodePaths,
  paths,
  labCgroup,
  systemCgroup,
} from '../paths.ts'
import type { SupervisorOptions } from '../options.ts'
import type { Launch } from '../process/launch.ts'

/** User of the operator; no such account needs to exist. */
export const operatorUser = 15_020
/** User and group of the proxy; the group may connect to the operator. */
export const proxyUser = 15_021
export const proxyPort = 15_001
const debugPort = 15_099

const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin'

/** Variables of the caller that reach the mesh's processes: what people debug with. */
const passedVariables = ['NODE_OPTIONS', 'NODE_DEBUG', 'GRPC_TRACE', 'GRPC_VERBOSITY']

function baseEnv(): Record<string, string> {
  const passed = passedVariables.flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return { PATH: systemPath, HOME: '/', ...Object.fromEntries(passed) }
}

/**
 * Node and a main file as seen through the bind mount at paths.software. A checkout below /root cannot be reached by
 * a process without DAC_OVERRIDE, whatever the modes of the files in it.
 */
function program(main: string, ...args: string[]): string[] {
  const node = process.execPath.startsWith(`${checkout}/`)
    ? join(paths.software, process.execPath.slice(checkout.length))
    : process.execPath
  return [node, join(paths.software, main), ...args]
}

const softwareMount: readonly (readonly [string, string])[] = [[checkout, paths.software]]

/** `source`: the arguments that say where objects come from. */
export function operatorLaunch(source: readonly string[]): Launch {
  return {
    cgroup: join(labCgroup(), 'operator'),
    mounts: softwareMount,
    // Members of the proxy's group may connect to the sockets that it makes.
    umask: '007',
    privileges: [
      `--reuid=${operatorUser}`,
      `--regid=${proxyUser}`,
      '--clear-groups',
      '--bounding-set=-all',
      '--inh-caps=-all',
      '--no-new-privs',
    ],
    env: baseEnv(),
    argv: program(
      'packages/operator/src/main.ts',
      ...source,
      ...[
        '--listen',
        `unix:${paths.operatorSocket}`,
        '--admin-socket',
        paths.operatorAdmin,
      ],
    ),
  }
}

export function agentLaunch(node: NodeInfo): Launch {
  const at = nodePaths(node.name)
  return {
    cgroup: systemCgroup(node.name, 'agent'),
    netns: node.netns,
    mounts: softwareMount,
    umask: '007',
    privileges: [
      // Root without privileges but these, as in the DaemonSet while the Mesh says Auto; the group opens the operator's and the
      // proxy's sockets.
      '--bounding-set=-all,+bpf,+net_admin,+perfmon,+sys_ptrace',
      '--inh-caps=-all',
      `--groups=${proxyUser}`,
      '--no-new-privs',
    ],
    env: baseEnv(),
    argv: program(
      'packages/node-agent/src/main.ts',
      ...['--node', node.name, '--operator', `unix:${paths.operatorSocket}`],
      ...['--cgroup-root', nodeCgroup(node.name)],
      ...['--proxy-cgroup', systemCgroup(node.name, 'proxy')],
      ...['--pin-dir', at.pins, '--state-dir', at.agentState],
      ...['--admin-socket', at.agentSocket, '--debug-port', String(debugPort)],
      ...['--proxy-address', node.addresses.join(','), '--proxy-port', String(proxyPort)],
      ...['--proxy-admin-socket', at.proxySocket],
    ),
  }
}

/** Directories of filters and of their secrets; each is bound to where the proxy's user can reach it. */
export type FilterDirs = Pick<SupervisorOptions, 'filters' | 'filterSecrets'>

export function proxyLaunch(
  node: NodeInfo,
  { filters, filterSecrets }: FilterDirs,
): Launch {
  const at = nodePaths(node.name)
  return {
    cgroup: systemCgroup(node.name, 'proxy'),
    netns: node.netns,
    mounts: [
      ...softwareMount,
      ...(filters === undefined ? [] : [[filters, paths.filters] as const]),
      ...(filterSecrets === undefined
        ? []
        : [[filterSecrets, paths.filterSecrets] as const]),
    ],
    umask: '007',
    privileges: [
      `--reuid=${proxyUser}`,
      `--regid=${proxyUser}`,
      '--clear-groups',
      '--bounding-set=-all',
      '--inh-caps=-all',
      '--no-new-privs',
    ],
    env: baseEnv(),
    argv: program(
      'packages/node-l7-proxy/src/main.ts',
      ...['--node', node.name, '--operator', `unix:${paths.operatorSocket}`],
      ...['--listen', node.addresses.join(','), '--port', String(proxyPort)],
      ...['--admin-socket', at.proxySocket, '--handover-socket', at.proxyHandover],
      ...(filters === undefined ? [] : ['--filters-dir', paths.filters]),
      ...(filterSecrets === undefined
        ? []
        : ['--filter-secrets-dir', paths.filterSecrets]),
    ),
  }
}
