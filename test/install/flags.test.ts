// SPDX-License-Identifier: Apache-2.0
// What manifests and the DaemonSet put on command lines is what the processes read.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { optionTable as agentOptions } from '../../packages/node-agent/src/options.ts'
import { optionTable as proxyOptions } from '../../packages/node-l7-proxy/src/options.ts'
import { nodeDaemonSet } from '../../packages/operator/src/install/objects.ts'
import { optionTable as operatorOptions } from '../../packages/operator/src/options.ts'

interface Row {
  readonly flag: string
  readonly default: unknown
}
interface Container {
  readonly name: string
  readonly args: readonly string[]
}
interface PodSpec {
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
}

const podSpecOf = (object: unknown): PodSpec =>
  (object as { spec: { template: { spec: PodSpec } } }).spec.template.spec

const flagsOf = ({ args }: Container): string[] =>
  args.map((arg) => /^--([a-z0-9-]+)(=|$)/.exec(arg)?.[1] ?? `no flag: ${arg}`)

const made = (isRemoval: boolean): PodSpec =>
  podSpecOf(
    nodeDaemonSet(
      {},
      { namespace: 'n', agentImage: 'agent:1', proxyImage: 'proxy:1', isRemoval },
    ),
  )

/** Every flag is known, every one without a default is given. */
function matches(t: Test, container: Container, table: readonly Row[]): void {
  const flags = flagsOf(container)
  const unknown = flags.filter((flag) => !table.some((row) => row.flag === flag))
  t.strictSame(unknown, [], `${container.name}: unknown`)
  const missing = table.filter(
    (row) => row.default === undefined && !flags.includes(row.flag),
  )
  t.strictSame(missing, [], `${container.name}: missing`)
}

t.test('the DaemonSet', async (t) => {
  const [agent, proxy] = made(false).containers
  if (agent === undefined || proxy === undefined) throw new TypeError('no containers')
  matches(t, agent, agentOptions)
  matches(t, proxy, proxyOptions)
  const [removal] = made(true).initContainers ?? []
  if (removal === undefined) throw new TypeError('no uninstall')
  const known = ['uninstall', ...agentOptions.map(({ flag }) => flag)]
  t.strictSame(
    flagsOf(removal).filter((flag) => !known.includes(flag)),
    [],
  )
})

t.test('the Deployment of the operator', async (t) => {
  const file = join(import.meta.dirname, '../../manifests/default/operator.yaml')
  const objects = parseAllDocuments(readFileSync(file, 'utf8')).map(
    (document) => document.toJS() as { kind: string },
  )
  const [operator] = podSpecOf(
    objects.find(({ kind }) => kind === 'Deployment'),
  ).containers
  if (operator === undefined) throw new TypeError('no container')
  // With the Kubernetes source there is no directory.
  const rows = Object.values(operatorOptions).filter(
    ({ source }) => source !== 'directory',
  )
  matches(t, operator, rows)
})
