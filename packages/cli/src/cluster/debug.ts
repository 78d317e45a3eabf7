// SPDX-License-Identifier: Apache-2.0
// Admin endpoints in a cluster. They are UNIX sockets and loopback, which neither the proxy of the API server nor, for the
// operator, a port-forward reaches: so a few lines of JavaScript are run beside the process, by the Node that is there anyway.
// Who may `exec` there may ask; nothing listens for it.
import { messageOf } from '@pillion/lab'
import { CliError, explainAnswer } from '../errors.ts'
import { Lines } from '../lines.ts'
import type { Installation } from './connect.ts'
import {
  adminSocketOf,
  containerOf,
  installedPods,
  isReady,
  nodeOf,
  type InstalledPods,
  type Pod,
  type Role,
} from './pods.ts'

/**
 * Prints the status of the answer on the first line, then its body. Arguments: socket, path; "follow" for an answer that goes on
 * until nobody holds the standard input any more.
 */
const script = `
const [socketPath, path, mode] = process.argv.slice(1)
const follows = mode === 'follow'
const fail = (error) => {
  console.error(error.message)
  process.exitCode = 1
  process.stdin.destroy()
}
const timeout = follows ? 0 : 10000
require('node:http').get({ socketPath, path, headers: { host: 'localhost' }, timeout }, (res) => {
  process.stdout.write(res.statusCode + '\\n')
  res.on('error', fail).on('end', () => process.stdin.destroy()).pipe(process.stdout)
}).on('timeout', function () { this.destroy(new Error('no answer in 10 s')) }).on('error', fail)
if (follows) process.stdin.on('end', () => process.exit()).resume()`

export interface Answer {
  readonly status: number
  readonly text: string
}

export class Debug {
  readonly #installation: Installation
  #pods: Promise<InstalledPods> | undefined

  constructor(installation: Installation) {
    this.#installation = installation
  }

  /** Pods as they were at the first question. */
  pods(): Promise<InstalledPods> {
    return (this.#pods ??= installedPods(this.#installation))
  }

  /** The same, looked at again. */
  refresh(): Promise<InstalledPods> {
    this.#pods = undefined
    return this.pods()
  }

  /** Pods of nodes, looked at again. Throws a CliError `not-installed` when nothing of the mesh runs. */
  async nodePods(): Promise<readonly Pod[]> {
    return this.#orNotInstalled(await this.refresh())
  }

  /** The pod of a node. Throws a CliError when there is none. */
  async nodePod(node: string): Promise<Pod> {
    const pods = this.#orNotInstalled(await this.pods())
    const found = pods.find(({ spec }) => spec.nodeName === node)
    if (found !== undefined) return found
    const known = pods.map(({ spec }) => spec.nodeName ?? '').sort()
    const have = known.length === 0 ? 'no node has' : `these have: ${known.join(', ')}`
    throw new CliError('failed', `node "${node}" runs no pod of the mesh; ${have}`)
  }

  /** A ready replica of the operator. Throws a CliError `not-installed` when there is none at all. */
  async operatorPod(): Promise<Pod> {
    const { operator } = await this.pods()
    const ready = operator.find((pod) =>
      isReady(pod, containerOf(pod, 'operator')?.name ?? ''),
    )
    const pod = ready ?? operator[0]
    if (pod !== undefined) return pod
    throw this.#absent('no operator runs')
  }

  /** Pods of nodes. Agents answer also while no operator runs. */
  #orNotInstalled({ node, operator }: InstalledPods): readonly Pod[] {
    if (node.length === 0 && operator.length === 0)
      throw this.#absent('no pod of the mesh runs')
    return node
  }

  #absent(what: string): CliError {
    const { cluster, namespace } = this.#installation
    return new CliError(
      'not-installed',
      `${what} in namespace ${namespace} of context ${cluster.context}; ` +
        'install it (pillion install), or say where it is with -n',
    )
  }

  /** One request to a process in a pod. Throws a CliError that says which process does not answer. */
  async ask(pod: Pod, role: Role, path: string): Promise<Answer> {
    const { who, socket, target } = this.#exec(pod, role, path)
    const { stdout, stderr, failure } = await this.#installation.cluster.exec(target)
    const [, status, text = ''] = /^(\d{3})\n([\s\S]*)$/.exec(stdout) ?? []
    if (failure === '' && status !== undefined) return { status: Number(status), text }
    const said = stderr.trim() || failure || 'it printed nothing'
    throw new CliError('failed', `the ${who} does not answer at ${socket}: ${said}`)
  }

  /**
   * Lines of an answer that goes on, until `signal` aborts or the process ends it. Throws a CliError when the process does not
   * answer, or with another status than 200.
   */
  async follow(
    pod: Pod,
    role: Role,
    path: string,
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { who, socket, target } = this.#exec(pod, role, path, 'follow')
    const { cluster } = this.#installation
    let status = ''
    const lines = new Lines((line) => {
      if (status === '200') onLine(line)
      else status += status === '' ? line : `: ${line}`
    })
    const take = (part: Buffer): void => lines.take(part)
    const { stderr, failure } = await cluster.execStream(target, take, signal)
    if (failure === '' && (status === '200' || signal.aborted)) return
    const said = stderr.trim() || failure || (status && `HTTP ${status}`)
    const why = said || 'it printed nothing'
    throw new CliError('failed', `the ${who} does not answer at ${socket}: ${why}`)
  }

  #exec(pod: Pod, role: Role, path: string, ...mode: 'follow'[]) {
    const { namespace } = this.#installation
    const who = `${role} in pod ${namespace}/${pod.metadata.name}`
    const container = containerOf(pod, role)
    if (container === undefined)
      throw new CliError('failed', `${who}: the pod has no such container`)
    const socket = adminSocketOf(container, role)
    const command = [nodeOf(container), '-e', script, socket, path, ...mode]
    const target = {
      namespace,
      pod: pod.metadata.name,
      container: container.name,
      command,
    }
    return { who, socket, target }
  }

  /** JSON of an answer 200. Throws a CliError otherwise. */
  async json<T>(pod: Pod, role: Role, path: string): Promise<T> {
    const { status, text } = await this.ask(pod, role, path)
    if (status !== 200) {
      const who = `${role} in pod ${pod.metadata.name}`
      throw new CliError('failed', explainAnswer(who, path, status, text))
    }
    try {
      return JSON.parse(text) as T
    } catch (error) {
      const message = `${role}, ${path}: no JSON: ${messageOf(error)}`
      throw new CliError('failed', message, { cause: error })
    }
  }
}
