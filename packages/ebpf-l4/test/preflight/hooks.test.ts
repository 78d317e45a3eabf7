// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import type { Hook, HookProgram, Sharing } from '../../src/preflight/facts.ts'
import { hookLines } from '../../src/preflight/hooks.ts'

const top = '/sys/fs/cgroup'
const pods = `${top}/kubepods`
const ours: HookProgram = { id: 1, name: 'pl_connect4', ours: true, cgroup: pods }
const other = (cgroup: string, name = 'cil_sock4'): HookProgram => ({
  ...{ id: 7, name, ours: false, cgroup },
})

const hook = (
  programs: HookProgram[],
  sharing: [string, Sharing][],
  program = 'pl_connect4',
): Hook => ({
  ...{ program, cgroup: pods, programs },
  sharing: sharing.map(([cgroup, mode]) => ({ cgroup, mode })),
})

t.test('nobody else', async (t) => {
  const alone = hook([ours], [[pods, 'multi']])
  t.match(hookLines([alone]), [{ what: 'hooks', ok: true }])
  t.same(hookLines([]), [], 'nothing was asked')
})

t.test('a load balancer that runs before ours takes services away', async (t) => {
  const found = 'before ours: cil_sock4 (7) on /sys/fs/cgroup/kubepods'
  const line = { what: 'hook connect4', ok: false, optional: true, found, cost: /no L7/ }
  t.match(hookLines([hook([other(pods), ours], [[pods, 'multi']])]), [line])
  t.match(
    hookLines([hook([other(pods)], [[pods, 'multi']])]),
    [line],
    'ours will be last',
  )
})

t.test('who runs after ours is told, and costs nothing', async (t) => {
  const lines = hookLines([hook([ours, other(top)], [[top, 'multi']])])
  t.match(lines, [{ ok: true, found: /^after ours: cil_sock4 \(7\) on .*: it sees/ }])
  t.match(hookLines([hook([other(top)], [[top, 'multi']])]), lines, 'ours goes in front')
})

t.test('on hooks that translate nothing, both may run', async (t) => {
  const packets = hook([other(pods, '')], [[pods, 'multi']], 'pl_ingress')
  t.match(hookLines([packets]), [
    { ok: true, found: /^before ours: program 7 on .*: it may drop packets/ },
  ])
  const release = hook([other(pods)], [[pods, 'multi']], 'pl_close')
  t.match(hookLines([release]), [{ ok: true, found: /both run$/ }])
})

t.test('a program that is attached for itself alone keeps ours out', async (t) => {
  const closed = { ok: false, optional: undefined, cost: /EPERM/ }
  const found = 'cil_sock4 (7) on /sys/fs/cgroup, attached for itself alone'
  t.match(hookLines([hook([other(top)], [[top, 'exclusive']])]), [{ ...closed, found }])
  for (const mode of ['exclusive', 'override'] as const) {
    t.match(hookLines([hook([other(pods)], [[pods, mode]])]), [closed], mode)
  }
  const between = `${pods}/a`
  const sheltered = hook(
    [other(between)],
    [
      [between, 'multi'],
      [top, 'exclusive'],
    ],
  )
  t.match(hookLines([sheltered]), [{ ok: true }], 'the nearest decides')
})

t.test('a program above that lets itself be overridden, is', async (t) => {
  const lines = hookLines([hook([other(top)], [[top, 'override']])])
  t.match(lines, [{ ok: false, optional: true, found: /^overridden by ours/ }])
})

t.test('a hook that cannot be asked', async (t) => {
  const error = 'query: Operation not permitted'
  const lines = hookLines([{ ...hook([], []), error }])
  t.match(lines, [{ ok: false, optional: true, found: error }])
})
