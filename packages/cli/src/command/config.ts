// SPDX-License-Identifier: Apache-2.0
// pillion config services|routes|policies|identities NODE: what the operator has sent to a node.
import { Argument, type Command } from 'commander'
import { clusterOptions, namespaceOption } from '../cluster/connect.ts'
import {
  identityRows,
  policyRows,
  routeRows,
  serviceRows,
  type Resources,
  type Rows,
} from '../config-rows.ts'
import { CliError } from '../errors.ts'
import { formatOption, print, printJson, table, type Format } from '../output.ts'
import { examples } from './options.ts'
import { withTarget, type Target, type TargetFlags } from '../target.ts'

interface View {
  readonly roles: readonly ('agent' | 'proxy')[]
  /** Kinds of resources that the JSON has. */
  readonly kinds: readonly string[]
  readonly rows: (resources: Resources) => Rows
}

const views: Readonly<Record<string, View>> = {
  services: { roles: ['agent'], kinds: ['servicePort', 'endpoint'], rows: serviceRows },
  routes: { roles: ['proxy'], kinds: ['routeTable'], rows: routeRows },
  policies: {
    roles: ['agent', 'proxy'],
    kinds: ['subjectPolicy', 'rule', 'l7Policy'],
    rows: policyRows,
  },
  identities: { roles: ['agent'], kinds: ['identity', 'workload'], rows: identityRows },
}

interface Flags extends TargetFlags {
  readonly output: Format
}

export function configCommand(program: Command): void {
  const command = program
    .command('config')
    .addArgument(new Argument('<what>', 'what to show').choices(Object.keys(views)))
    .argument('<node>', 'name of the node')
    .description('what a node was sent: services, routes, policies, identities')
    .action((what: string, node: string, flags: Flags) =>
      withTarget(flags, (target) => show(target, what, node, flags.output)),
    )
  formatOption(namespaceOption(clusterOptions(command)))
  examples(command, 'pillion config services node-1')
}

async function show(
  target: Target,
  what: string,
  node: string,
  output: Format,
): Promise<void> {
  const view = views[what]
  if (view === undefined) throw new CliError('usage', `"${what}" is not known`)
  await checkNode(target, node)
  const sent = await Promise.all(view.roles.map((role) => sentTo(target, node, role)))
  const version = Math.min(...sent.map((each) => each.version))
  const resources = merged(sent.map((each) => each.resources))
  if (output === 'json') {
    const chosen = view.kinds.map((kind) => [kind, resources[kind] ?? {}])
    printJson({ node, version, ...Object.fromEntries(chosen) })
    return
  }
  const { head, rows } = view.rows(resources)
  print(rows.length === 0 ? `node ${node} was sent no ${what}` : table(head, rows))
}

/** Kinds that one role is not sent are empty there. */
function merged(views: readonly Resources[]): Resources {
  const kinds = views.flatMap((view) => Object.entries(view))
  return Object.fromEntries(
    kinds.filter(([, found]) => Object.keys(found ?? {}).length > 0),
  )
}

/** What the operator has sent to the agent or the proxy of a node. */
export function sentTo(
  target: Target,
  node: string,
  role: 'agent' | 'proxy',
): Promise<{ version: number; resources: Resources }> {
  const query = new URLSearchParams({ node, role })
  return target.operator(`/debug/config?${query.toString()}`)
}

/** Throws a CliError with the nodes that there are when `node` is none: the operator answers for any name. */
export async function checkNode(target: Target, node: string): Promise<void> {
  const known = await target.nodes()
  if (known.includes(node)) return
  const have = known.length === 0 ? 'it has none' : `it has ${known.join(', ')}`
  throw new CliError('failed', `${target.name} has no node "${node}"; ${have}`)
}
