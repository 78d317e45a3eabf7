// SPDX-License-Identifier: Apache-2.0
// `pillion-agent --uninstall`: nothing of ours is left on the node, or the exit code says that something is.
import { rmSync, statSync } from 'node:fs'
import { removeDatapath } from '@pillion/ebpf-l4'
import type { Options } from './options.ts'

export type UninstallOptions = Pick<Options, 'pinDir' | 'cgroupRoot' | 'stateDir'>

/**
 * Detaches the programs, removes pins and the saved configuration; a second time finds nothing. Returns a line for each thing
 * removed, and what was proved. Throws a BpfError when something of ours is left, or an agent still runs there.
 */
export async function uninstall(options: UninstallOptions): Promise<string[]> {
  const { pinDir, cgroupRoot, stateDir } = options
  const removed = await removeDatapath({ pinDir, cgroupRoot })
  // Only what is in it: in a pod the directory itself is a mount.
  const saved = ['resources.pb', 'resources.pb.new']
    .map((name) => `${stateDir}/${name}`)
    .filter((path) => statSync(path, { throwIfNoEntry: false }) !== undefined)
  for (const path of saved) rmSync(path)
  return [
    ...removed,
    ...saved.map((path) => `removed ${path}`),
    `clean: no program of ours on a hook, nothing at ${pinDir}`,
  ]
}
