// SPDX-License-Identifier: Apache-2.0
// Programs of others beside ours: who runs first, and what that means. Pure.
import type { Hook, HookProgram } from './facts.ts'
import type { PreflightLine } from './lines.ts'

/** What programs of others do to ours, by where they run; the first that fits the name of our program. */
const meanings: readonly {
  readonly hook: RegExp
  readonly before: string
  readonly after: string
}[] = [
  {
    hook: /_(connect|sendmsg)/,
    before:
      'a service that it translates reaches us as the address of a pod: no L7, no affinity of ours, and flows without the service; let one of both balance services',
    after:
      'it sees the endpoint that we chose, and may send the connection elsewhere after we judged it; the destination judges again',
  },
  {
    hook: /_(recvmsg|getpeername)/,
    before: 'we have the last word on the address that the application sees',
    after: 'it has the last word on the address that the application sees',
  },
  {
    hook: /_(ingress|egress)$/,
    before: 'it may drop packets before we see them',
    after: 'it may drop packets that we let pass',
  },
  {
    hook: /_sockops$/,
    before: 'it may switch off the callbacks that flows and acceleration need',
    after: 'it may switch off the callbacks that flows and acceleration need',
  },
]

/** Nothing of ours depends on what others do there. */
const harmless = 'both run'
const overridden =
  'it is attached with BPF_F_ALLOW_OVERRIDE, and no longer runs for the pods once ours is there: its owner has to use BPF_F_ALLOW_MULTI'

/** A line for each hook where somebody else is, or one when nobody is. */
export function hookLines(hooks: readonly Hook[]): PreflightLine[] {
  const lines = hooks.flatMap(hookLine)
  return lines.length > 0 || hooks.length === 0
    ? lines
    : [{ what: 'hooks', ok: true, found: 'nobody else is on ours', cost: '' }]
}

function hookLine(hook: Hook): PreflightLine[] {
  const what = `hook ${hook.program.replace(/^pl_/, '')}`
  if (hook.error !== undefined) {
    const cost = 'who else is there is not known'
    return [{ what, ok: false, optional: true, found: hook.error, cost }]
  }
  const others = hook.programs.filter(({ ours }) => !ours)
  if (others.length === 0) return []
  const closed = closedBy(hook)
  if (closed !== undefined) {
    const names = others.filter(({ cgroup }) => cgroup === closed).map(nameOf)
    const found = `${names.join(', ')} on ${closed}, attached for itself alone`
    const cost =
      'the mesh does not run on this node: ours is not let in (EPERM); attach that one with BPF_F_ALLOW_MULTI or take it away'
    return [{ what, ok: false, found, cost }]
  }
  const { before, after, replaced } = orderOf(hook)
  const meaning = meanings.find((each) => each.hook.test(hook.program))
  const found = [
    ...said(before, 'before ours'),
    ...said(after, 'after ours'),
    ...said(replaced, 'overridden by ours'),
  ].join('; ')
  const means = new Set([
    ...(before.length > 0 ? [meaning?.before ?? harmless] : []),
    ...(after.length > 0 ? [meaning?.after ?? harmless] : []),
    ...(replaced.length > 0 ? [overridden] : []),
  ])
  const cost = [...means].join('; ')
  // Whoever translates before us takes services away from the mesh; all else is worth knowing.
  const takes = before.length > 0 && /_(connect|sendmsg)/.test(hook.program)
  return takes || replaced.length > 0
    ? [{ what, ok: false, optional: true, found, cost }]
    : [{ what, ok: true, found: `${found}: ${cost}`, cost: '' }]
}

/**
 * The cgroup whose programs let ours not in: on our own they have to be attached as ours will be, and the nearest above must not
 * be alone (hierarchy_allows_attach of kernel/bpf/cgroup.c).
 */
function closedBy({ sharing, programs, cgroup }: Hook): string | undefined {
  if (programs.some(({ ours }) => ours)) return undefined
  const own = sharing.find((each) => each.cgroup === cgroup)
  if (own !== undefined && own.mode !== 'multi') return own.cgroup
  const above = sharing.find((each) => each.cgroup !== cgroup)
  return above?.mode === 'exclusive' ? above.cgroup : undefined
}

interface Order {
  readonly before: readonly HookProgram[]
  readonly after: readonly HookProgram[]
  /** Of cgroups above that let themselves be overridden: with ours there they do not run for us. */
  readonly replaced: readonly HookProgram[]
}

/** As it is; as long as ours is not there, as it will be: behind those of its own cgroup, in front of those above. */
function orderOf({ programs, sharing, cgroup }: Hook): Order {
  const at = programs.findIndex(({ ours }) => ours)
  if (at >= 0) {
    const after = programs.slice(at).filter(({ ours }) => !ours)
    return { before: programs.slice(0, at), after, replaced: [] }
  }
  const modes = new Map(sharing.map((each) => [each.cgroup, each.mode]))
  const above = programs.filter((each) => each.cgroup !== cgroup)
  return {
    before: programs.filter((each) => each.cgroup === cgroup),
    after: above.filter((each) => modes.get(each.cgroup) !== 'override'),
    replaced: above.filter((each) => modes.get(each.cgroup) === 'override'),
  }
}

function said(programs: readonly HookProgram[], where: string): string[] {
  if (programs.length === 0) return []
  return [
    `${where}: ${programs.map((each) => `${nameOf(each)} on ${each.cgroup}`).join(', ')}`,
  ]
}

function nameOf({ id, name }: HookProgram): string {
  return name === undefined || name === '' ? `program ${id}` : `${name} (${id})`
}
