// SPDX-License-Identifier: Apache-2.0
// An agent in a process of its own, so that it can be killed, or be of another build.
import type { ChildProcess } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cgroup2Mount, configuredMaps, type Tables } from '../../src/index.ts'
import type { Host } from './host.ts'
import { nextLine } from './program.ts'

const ebpfL4 = join(import.meta.dirname, '../..')

/** The tables of a test, as JSON can carry them. */
export type Portable = Record<string, [key: string, value: string][]>

export function portable(tables: Record<string, ReadonlyMap<string, Buffer>>): Portable {
  return Object.fromEntries(
    configuredMaps.map((name) => [
      name,
      [...(tables[name] ?? [])].map(([key, value]) => [key, value.toString('base64')]),
    ]),
  )
}

/**
 * A copy of this package whose maps have another layout, as far as anybody can tell: the hash that names them differs. Returns
 * its index.ts.
 */
export function otherLayout(directory: string): string {
  mkdirSync(directory, { recursive: true })
  cpSync(join(ebpfL4, 'src'), join(directory, 'src'), { recursive: true })
  for (const name of ['.build', 'node_modules']) {
    symlinkSync(join(ebpfL4, name), join(directory, name))
  }
  const layout = join(directory, 'src/gen/layout.ts')
  const text = readFileSync(layout, 'utf8')
  const other = text.replace(/(layoutHash = ')[0-9a-f]{4}/, '$10000')
  if (other === text) throw new Error(`no layoutHash in ${layout}`)
  writeFileSync(layout, other)
  return join(directory, 'src/index.ts')
}

/** Runs in the child. A line is a command: open, apply with tables, churn between two tables until somebody ends it, close. */
const agent = async (index: string, options: object): Promise<void> => {
  const { Datapath } = (await import(index)) as typeof import('../../src/index.ts')
  const { createInterface } = await import('node:readline')
  const tablesOf = (text: Portable): Tables =>
    Object.fromEntries(
      Object.entries(text).map(([name, entries]) => [
        name,
        new Map(entries.map(([key, value]) => [key, Buffer.from(value, 'base64')])),
      ]),
    ) as unknown as Tables
  let datapath: import('../../src/index.ts').Datapath | undefined
  const run = async (op: string, tables: Portable[]): Promise<string> => {
    if (op === 'open') {
      datapath = await Datapath.open(options as never)
      return datapath.adopted ? 'adopted' : 'new'
    }
    if (datapath === undefined) return 'not open'
    if (op === 'close') {
      datapath.close()
      return 'closed'
    }
    datapath.setSettings({ acceleration: 'on', proxyPort: 0 })
    const [first, second = first] = tables.map(tablesOf)
    if (first === undefined || second === undefined) return 'no tables'
    do {
      datapath.apply(first)
      datapath.apply(second)
    } while (op === 'churn')
    return 'applied'
  }
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { op, tables } = JSON.parse(line) as { op: string; tables: Portable[] }
    run(op, tables).then(
      (answer) => console.log(answer),
      (error: unknown) => console.log((error as { code?: string }).code ?? String(error)),
    )
  })
  console.log('ready')
}

/** Beside the pods: in the node's network, outside of its cgroup. */
export async function startAgent(
  host: Host,
  index = join(ebpfL4, 'src/index.ts'),
): Promise<ChildProcess> {
  return host.serve({ namespace: host.tag, cgroup: cgroup2Mount() }, agent, index, {
    objectDir: join(ebpfL4, '../../bpf/.output'),
    pinDir: host.pinDir,
    cgroupRoot: host.root,
    proxyCgroup: host.proxyCgroup,
  })
}

/** Sends a command, returns the answer; `churn` answers never. */
export function command(
  child: ChildProcess,
  op: 'open' | 'apply' | 'close' | 'churn',
  ...tables: Portable[]
): Promise<string> {
  const answer = nextLine(child)
  child.stdin?.write(`${JSON.stringify({ op, tables })}\n`)
  return answer
}
