// SPDX-License-Identifier: Apache-2.0
// pillion lab …: a cluster on this machine.
import { resolve } from 'node:path'
import { isClusterScoped, LabError, type Applied, type KubeObject } from '@pillion/lab'
import { Argument, Option, type Command } from 'commander'
import { lab } from '../client.ts'
import { columnsOf, kindOf } from '../kinds.ts'
import { age, formatOption, print, printJson, table, type Format } from '../output.ts'
import { execIn } from './exec.ts'
import { down, meshOn, replaceProxy, up } from './lab-up.ts'
import { showLogs } from './logs.ts'
import { examples } from './options.ts'

interface Namespaced {
  namespace?: string
}
interface Output {
  output: Format
}

export function labCommand(program: Command): void {
  const command = program.command('lab').description('a small cluster on this machine')
  lifeCommands(command)
  objectCommands(command)
  podCommands(command)
}

function lifeCommands(command: Command): void {
  const start = command
    .command('up')
    .argument('[dir]', 'directory of manifests')
    .option(
      '--kubeconfig <file>',
      'objects are in this API server: be its kubelet and EndpointSlice controller',
    )
    .option('--nodes <n>', 'nodes of the lab', '2')
    .option(
      '--mesh <on|off>',
      'off: the same pods without operator, agents and proxies',
      'on',
    )
    .option('--filters <dir>', 'filters for the proxies (docs/l7-filters.md)')
    .option('--filter-secrets <dir>', 'what filters may read as secrets')
    .option('--timeout <seconds>', 'how long pods and configuration may take', '60')
    .option('--keep', 'leave a lab that does not come up as it is, to look at it')
    .description(
      'start a lab; returns when pods are ready and every node has the configuration',
    )
    .action(up)
  examples(
    start,
    'pillion lab up examples/shop --nodes 2',
    'pillion lab up examples/shop --kubeconfig .cache/lab.kubeconfig',
  )
  const mesh = command
    .command('mesh')
    .addArgument(new Argument('<on>', 'on').choices(['on']))
    .description('start the mesh in a lab that came up with --mesh off')
    .action(meshOn)
  examples(mesh, 'pillion lab mesh on')
  const replace = command
    .command('replace')
    .argument('<node>', 'the node whose proxy another one succeeds')
    .option('--gap', 'end the old one first, as the replacement of a pod does')
    .description("put another proxy in the place of a node's; requests go on")
    .action(replaceProxy)
  examples(replace, 'pillion lab replace node-1')
  const end = command
    .command('down')
    .description('end the lab; leaves nothing behind')
    .action(down)
  examples(end, 'pillion lab down')
}

function objectCommands(command: Command): void {
  const apply = command
    .command('apply')
    .requiredOption('-f, --file <path>', 'file or directory of manifests')
    .description('create or change objects, all or none')
    .action(async ({ file, output }: { file: string } & Output) => {
      showApplied(await lab<Applied[]>('POST', '/apply', { path: resolve(file) }), output)
    })
  examples(formatOption(apply), 'pillion lab apply -f route.yaml')
  const removal = command
    .command('delete')
    .argument('[kind/name]', 'one object')
    .option('-f, --file <path>', 'objects of a file or directory')
    .option('-n, --namespace <ns>', 'namespace', 'default')
    .description('delete objects')
    .action(remove)
  examples(formatOption(removal), 'pillion lab delete httproute/web -n shop')
  const show = command
    .command('get')
    .argument('<kind>', 'pods, svc, eps, netpol, httproute, l7service, …')
    .argument('[name]', 'one object')
    .option('-n, --namespace <ns>', 'namespace; all without')
    .description('show objects')
    .action(get)
  examples(formatOption(show), 'pillion lab get pods -n shop')
}

function podCommands(command: Command): void {
  const exec = command
    .command('exec')
    .argument('<pod>', 'pod, deploy/NAME, the beginning of one pod name, or node/NAME')
    .argument('<command...>', 'command, after --')
    .option('-n, --namespace <ns>', 'namespace', 'default')
    // What the fingers of kubectl users type; the command has the caller's terminal in any case.
    .addOption(new Option('-i, --stdin').hideHelp())
    .addOption(new Option('-t, --tty').hideHelp())
    .description('run a command in a pod or on a node; its exit code is passed on')
    .action(async (pod: string, argv: string[], { namespace }: Namespaced) => {
      process.exitCode = await execIn(pod, namespace ?? 'default', argv)
    })
  examples(exec, 'pillion lab exec -n shop deploy/web -- curl -s http://cart/')
  const logs = command
    .command('logs')
    .argument('<pod>', 'pod, deploy/NAME, or node/NAME for agent and proxy')
    .option('-n, --namespace <ns>', 'namespace', 'default')
    .option('-f, --follow', 'go on with what is written')
    .description('show what a pod wrote')
    .action(async (pod: string, options: Namespaced & { follow?: boolean }) => {
      await showLogs(pod, options.namespace ?? 'default', options.follow === true)
    })
  examples(logs, 'pillion lab logs -f node/node-1')
}

async function remove(
  target: string | undefined,
  { file, namespace, output }: { file?: string } & Namespaced & Output,
): Promise<void> {
  if ((target === undefined) === (file === undefined)) {
    throw new LabError('usage', 'delete needs either -f FILE or KIND/NAME')
  }
  if (file !== undefined) {
    showApplied(await lab<Applied[]>('POST', '/delete', { path: resolve(file) }), output)
    return
  }
  const [written = '', name] = (target ?? '').split('/')
  if (name === undefined) throw new LabError('usage', `${target}: not KIND/NAME`)
  const kind = kindOf(written)
  const place = isClusterScoped(kind) ? {} : { namespace }
  showApplied(await lab<Applied[]>('POST', '/delete', { kind, name, ...place }), output)
}

function showApplied(applied: readonly Applied[], output: Output['output']): void {
  if (output === 'json') {
    printJson(applied)
    return
  }
  for (const { kind, namespace, name, action } of applied) {
    const where = namespace === undefined ? '' : ` (${namespace})`
    print(`${kind.toLowerCase()}/${name}${where} ${action}`)
  }
}

async function get(
  written: string,
  name: string | undefined,
  { namespace, output }: Namespaced & Output,
): Promise<void> {
  const kind = kindOf(written)
  const query = new URLSearchParams({ kind })
  if (namespace !== undefined) query.set('namespace', namespace)
  const all = await lab<KubeObject[]>('GET', `/objects?${query.toString()}`)
  const items =
    name === undefined ? all : all.filter(({ metadata }) => metadata.name === name)
  if (name !== undefined && items.length === 0) {
    throw new LabError('not-found', `there is no ${kind} ${name}`)
  }
  if (output === 'json') {
    printJson(name === undefined ? { apiVersion: 'v1', kind: 'List', items } : items[0])
    return
  }
  if (items.length === 0) {
    process.stderr.write(`no ${kind} found\n`)
    return
  }
  print(objectTable(kind, items))
}

function objectTable(kind: string, items: readonly KubeObject[]): string {
  const columns = columnsOf(kind)
  const now = Date.now()
  const rows = items
    .toSorted((a, b) => sortKey(a).localeCompare(sortKey(b)))
    .map((object) => [
      ...(isClusterScoped(kind) ? [] : [object.metadata.namespace ?? '']),
      object.metadata.name,
      ...columns.row(object),
      age(object.metadata.creationTimestamp, now),
    ])
  const place = isClusterScoped(kind) ? [] : ['NAMESPACE']
  return table([...place, 'NAME', ...columns.head, 'AGE'], rows)
}

function sortKey({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`
}
