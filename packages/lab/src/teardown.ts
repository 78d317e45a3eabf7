// SPDX-License-Identifier: Apache-2.0
// Ends a lab, whatever is left of it. Needs no supervisor and no memory: everything is found by name, and processes by
// their cgroup, so it works the same after kill -9 of the supervisor or in the middle of `up`.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { deleteNetns, listNetns } from './net/apply.ts'
import { labCgroup, paths, pinRoot, runDir } from './paths.ts'
import { killCgroup, removeCgroup } from './process/cgroup.ts'
import { run } from './process/run.ts'

/** What is there of a lab, for people; empty when nothing is. */
export function remains(): string[] {
  const netns = listNetns().map((name) => `network namespace ${name}`)
  const places = [labCgroup(), runDir, pinRoot].filter((place) => existsSync(place))
  return [...netns, ...places]
}

/** Removes everything. Throws a LabError when something cannot be removed; calling it again goes on. */
export async function teardown(): Promise<void> {
  const cgroup = labCgroup()
  // Processes first: nothing makes anything new after this, the supervisor included.
  killCgroup(cgroup)
  await deleteNetns(listNetns())
  // Pinned links keep programs attached to the cgroups, so they go before the cgroups.
  rmSync(pinRoot, { recursive: true, force: true })
  await removeCgroup(cgroup)
  // A namespace that was being made while its maker died.
  await deleteNetns(listNetns())
  if (existsSync(paths.bpffsMark)) await unmountBpffs()
  rmSync(runDir, { recursive: true, force: true })
}

/** Undoes the lab's own mount, unless somebody else pinned something there since. */
async function unmountBpffs(): Promise<void> {
  const mounted = readFileSync('/proc/mounts', 'utf8').includes(' /sys/fs/bpf bpf ')
  // The kernel itself puts maps.debug and progs.debug there.
  const pinned =
    mounted && readdirSync('/sys/fs/bpf').some((name) => !name.endsWith('.debug'))
  if (!mounted || pinned) return
  await run('umount', ['/sys/fs/bpf'])
}
