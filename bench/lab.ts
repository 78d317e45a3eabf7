// SPDX-License-Identifier: Apache-2.0
// The lab as a user drives it: bin/pillion, nothing else.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const pillion = join(import.meta.dirname, '../bin/pillion')
const upTimeoutMs = 120_000
const callTimeoutMs = 60_000
const maxOutputBytes = 16 << 20

/** Namespace of everything that the manifests make. */
export const namespace = 'bench'

/** Runs `pillion lab ARGS`; resolves to its standard output, rejects with what it said. */
async function lab(args: readonly string[], timeoutMs: number): Promise<string> {
  try {
    const options = { timeout: timeoutMs, maxBuffer: maxOutputBytes }
    const { stdout } = await run(pillion, ['lab', ...args], options)
    return stdout
  } catch (error) {
    const { stderr, stdout, message } = error as {
      stderr?: string
      stdout?: string
      message: string
    }
    const said = [stderr, stdout]
      .filter((text) => text !== undefined && text !== '')
      .join('\n')
    throw new Error(
      `pillion lab ${args.slice(0, 4).join(' ')}: ${said === '' ? message : said.trim()}`,
      {
        cause: error,
      },
    )
  }
}

/** Whether the lab that runs is ours: somebody else's is never taken down. */
let ours = false

/** Brings up two nodes with the manifests in `dir`, with the mesh or without. Rejects when a lab runs already. */
export async function labUp(dir: string, mesh: boolean): Promise<void> {
  await lab(['up', dir, '--nodes', '2', '--mesh', mesh ? 'on' : 'off'], upTimeoutMs)
  ours = true
}

/** Takes our lab down; without one, does nothing. */
export async function labDown(): Promise<void> {
  if (!ours) return
  ours = false
  await lab(['down'], callTimeoutMs)
}

export async function labApply(file: string): Promise<void> {
  await lab(['apply', '-f', file], callTimeoutMs)
}

/** Runs a command in a pod; resolves to its standard output. */
export async function labExec(
  pod: string,
  command: readonly string[],
  timeoutMs = callTimeoutMs,
): Promise<string> {
  return lab(['exec', '-n', namespace, pod, '--', ...command], timeoutMs)
}

/** Command line that runs a command in a pod, for callers that keep it running. */
export const labExecArgv = (pod: string, command: readonly string[]): string[] => [
  ...[pillion, 'lab', 'exec', '-n', namespace, pod, '--', ...command],
]

/** Puts another proxy in the place of a node's, beside the old one or with a gap; resolves when the old one is gone. */
export async function labReplace(node: string, gap: boolean): Promise<void> {
  await lab(['replace', node, ...(gap ? ['--gap'] : [])], callTimeoutMs)
}

/** The fields of objects that the benchmark reads. */
export interface KubeObject {
  readonly metadata: { readonly name: string; readonly uid?: string }
  readonly spec?: { readonly clusterIP?: string; readonly nodeName?: string }
  readonly status?: {
    readonly podIP?: string
    readonly conditions?: readonly Condition[]
  }
}

interface Condition {
  readonly type: string
  readonly status: string
}

/** All objects of a kind in the benchmark's namespace. */
export async function labGet(kind: string): Promise<readonly KubeObject[]> {
  const text = await lab(['get', kind, '-n', namespace, '-o', 'json'], callTimeoutMs)
  const value = JSON.parse(text) as KubeObject[] | { items: KubeObject[] }
  return Array.isArray(value) ? value : value.items
}
