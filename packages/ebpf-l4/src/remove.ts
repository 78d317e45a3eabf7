// SPDX-License-Identifier: Apache-2.0
// Takes a datapath off a node, whatever build left it there, and proves that it is gone.
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BpfError } from './errors.ts'
import { native, type LinkInfo } from './native.ts'
import { claim, removePins } from './pins.ts'

/** The kernel lets go of a removed link a moment later, in a work queue. */
const detachMs = 5_000

export interface Removal {
  /** This node's directory on a bpf file system. */
  readonly pinDir: string
  /** cgroup v2 directory below which programs were attached. */
  readonly cgroupRoot: string
}

/**
 * Detaches all programs and removes all pins below `pinDir`, of every layout. Returns a line for each thing removed, none when
 * there was nothing. Throws a BpfError: FOREIGN_OWNER while an agent lives there, SYSTEM with what is left.
 *
 * Programs are recognised by the ids in our links, not by name: without CAP_SYS_ADMIN the kernel tells no names.
 */
export async function removeDatapath({ pinDir, cgroupRoot }: Removal): Promise<string[]> {
  if (statSync(pinDir, { throwIfNoEntry: false }) === undefined) return []
  // An agent would attach its programs again. The lock outlives the directory; nobody can ask for it then.
  const own = claim(pinDir)
  try {
    return await remove(pinDir, cgroupRoot)
  } finally {
    native.closeFd(own)
  }
}

async function remove(pinDir: string, cgroupRoot: string): Promise<string[]> {
  const pins = pinsBelow(pinDir)
  const links = pins
    .filter((path) => relative(pinDir, path).startsWith('links/'))
    .flatMap((path) => linkOf(path) ?? [])
  removePins(pinDir)
  const deadline = performance.now() + detachMs
  for (;;) {
    const left = stillAttached(links, cgroupRoot)
    if (left.length === 0) break
    if (performance.now() > deadline)
      throw new BpfError('SYSTEM', `still attached: ${left.join(', ')}`)
    await sleep(20)
  }
  if (statSync(pinDir, { throwIfNoEntry: false }) !== undefined)
    throw new BpfError('SYSTEM', `${pinDir} is still there: is an agent running?`)
  return pins.map((path) => `removed ${path}`)
}

/** Links first, as they are named: what decides goes before what it reads. */
function pinsBelow(pinDir: string): string[] {
  return readdirSync(pinDir, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

function linkOf(path: string): LinkInfo | undefined {
  const fd = native.getPinned(path)
  if (fd < 0) return undefined
  try {
    return native.linkInfo(fd)
  } finally {
    native.closeFd(fd)
  }
}

/** "program 12 on /sys/fs/cgroup": programs of `links` that are effective on the cgroup that they were attached to. */
function stillAttached(links: readonly LinkInfo[], cgroupRoot: string): string[] {
  const ids = new Set(links.map(({ cgroupId }) => BigInt(cgroupId)))
  const paths = cgroupPaths(cgroupRoot, ids)
  return links.flatMap(({ cgroupId, attachType, programId }) => {
    const path = paths.get(BigInt(cgroupId))
    if (path === undefined) return [] // the cgroup is gone, and its programs with it
    const directory = native.openDirectory(path)
    try {
      const effective = native.progQuery(directory, attachType, 1)
      return effective.ids.includes(programId) ? [`program ${programId} on ${path}`] : []
    } finally {
      native.closeFd(directory)
    }
  })
}

function cgroupPaths(root: string, ids: ReadonlySet<bigint>): Map<bigint, string> {
  const found = new Map<bigint, string>()
  const look = (path: string): void => {
    const id = statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
    if (id === undefined) return
    if (ids.has(id)) found.set(id, path)
    if (found.size === ids.size) return
    for (const entry of childrenOf(path)) look(join(path, entry))
  }
  if (ids.size > 0) look(root)
  return found
}

function childrenOf(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  } catch {
    return [] // removed a moment ago
  }
}
