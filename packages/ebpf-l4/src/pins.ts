// SPDX-License-Identifier: Apache-2.0
// The pin directory of a node: what survives the agent.
//
//   <pinDir>/maps-<layoutHash>/<map>   maps of one layout; another layout gets a directory of its own
//   <pinDir>/links/<program>           links, replaced atomically by a new build
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { BpfError } from './errors.ts'
import { layoutHash } from './gen/layout.ts'
import { native } from './native.ts'

export const bpfFsMagic = 0xcafe4a11 // BPF_FS_MAGIC, linux/magic.h

/** Paths below one pin directory. */
export interface Pins {
  readonly maps: string
  readonly links: string
}

/** Creates the directories. Throws NO_BPFFS when `pinDir` is on another file system: pins would not be kept. */
export function openPins(pinDir: string): Pins {
  let existing = pinDir
  while (statSync(existing, { throwIfNoEntry: false }) === undefined) {
    existing = dirname(existing)
  }
  if (statfsSync(existing).type !== bpfFsMagic) {
    throw new BpfError(
      'NO_BPFFS',
      `${pinDir} is not on a bpf file system; mount one: mount -t bpf bpf /sys/fs/bpf`,
    )
  }
  const pins = { maps: join(pinDir, `maps-${layoutHash}`), links: join(pinDir, 'links') }
  mkdirSync(pins.maps, { recursive: true, mode: 0o700 })
  mkdirSync(pins.links, { recursive: true, mode: 0o700 })
  return pins
}

/** Directories of maps below one pin directory, of every layout. */
function layouts(pinDir: string): string[] {
  if (statSync(pinDir, { throwIfNoEntry: false }) === undefined) return []
  return readdirSync(pinDir)
    .filter((name) => name.startsWith('maps-'))
    .map((name) => join(pinDir, name))
}

/**
 * The right to drive the datapath pinned there, for as long as the descriptor is open: two agents would undo each other's work.
 * Throws FOREIGN_OWNER while another process has it, whatever its build and its pid namespace. The directory must exist.
 */
export function claim(pinDir: string): number {
  const directory = native.openDirectory(pinDir)
  if (native.lockFile(directory)) return directory
  native.closeFd(directory)
  throw new BpfError(
    'FOREIGN_OWNER',
    `${pinDir} is driven by another agent${holder(pinDir)}; stop that one first`,
  )
}

/** Its process, as /proc/locks knows it; in another pid namespace that is nobody. */
function holder(pinDir: string): string {
  const { ino } = statSync(pinDir)
  const lock = readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .find((line) => line.includes('FLOCK') && line.includes(`:${ino} `))
  const pid = Number(lock?.trim().split(/\s+/)[4] ?? 0)
  return pid > 0 ? ` (process ${pid})` : ''
}

/**
 * Removes the maps of other layouts, except those into whose sockhash live connections are still entered: taken out, they would
 * lose what is on its way. Nobody enters new ones, so a later call removes these too. Returns the directories that stay.
 */
export function removeOtherLayouts(pinDir: string, own: string): string[] {
  return layouts(pinDir).filter((directory) => {
    if (directory === own) return false
    if (holdsSockets(join(directory, 'pl_sockhash'))) return true
    rmSync(directory, { recursive: true, force: true })
    return false
  })
}

function holdsSockets(path: string): boolean {
  const fd = native.getPinned(path)
  if (fd < 0) return false
  try {
    return native.mapHolds(fd)
  } finally {
    native.closeFd(fd)
  }
}

/** Removes everything that is pinned below: programs are detached with their links. */
export function removePins(pinDir: string): void {
  for (const entry of readdirSync(pinDir, { withFileTypes: true, recursive: true })) {
    if (!entry.isDirectory()) rmSync(join(entry.parentPath, entry.name))
  }
  rmSync(pinDir, { recursive: true, force: true })
}
