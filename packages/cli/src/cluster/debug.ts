// SPDX-License-Identifier: Apache-2.0
// Admin endpoints in a cluster. They are UNIX sockets and loopback, which neither the proxy of the API server nor, for the
// operator, a port-forward reaches: so a few lines of JavaScript are run beside the process, by the Node that is there anyway.
// Who may `exec` there may ask; nothing listens for it.
import { messageOf } from '@pillion/lab'
import { CliError } from '../errors.ts'
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

/** Prints the status of the answer on the first line, then its body. Arguments: socket, path. */
const script = `
const [socketPath, path] = process.argv.slice(-2)
require('node:http').get({ socketPath, path, headers: { host: 'localhost' }, timeout: 10000 }, (res) => {
  process.stdout.write(res.statusCode + '\\n')
  res.pipe(process.stdout)
}).on('timeout', function () { this.destroy(new Error('no answer in 10 s')) })
  .on('error', (error) => { console.error(error.message); process.exitCode = 1 })`

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

  /** The pod of a node. Throws a CliError when there is none. */
  async nodePod(node: string): Promise<Pod> {
    const { node: pods } = await this.pods()
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
    const { cluster, namespace } = this.#installation
    throw new CliError(
      'not-installed',
      `no operator runs in namespace ${namespace} of context ${cluster.context}; ` +
        'install it (pillion install), or say where it is with -n',
    )
  }

  /** One request to a process in a pod. Throws a CliError that says which process does not answer. */
  async ask(pod: Pod, role: Role, path: string): Promise<Answer> {
    const { cluster, namespace } = this.#installation
    const who = `${role} in pod ${namespace}/${pod.metadata.name}`
    const container = containerOf(pod, role)
    if (container === undefined)
      throw new CliError('failed', `${who}: the pod has no such container`)
    const socket = adminSocketOf(container, role)
    const { stdout, stderr, failure } = await cluster.exec({
      namespace,
      pod: pod.metadata.name,
      container: container.name,
      command: [nodeOf(container), '-e', script, socket, path],
    })
    const [, status, text = ''] = /^(\d{3})\n([\s\S]*)$/.exec(stdout) ?? []
    if (failure === '' && status !== undefined) return { status: Number(status), text }
    const said = stderr.trim() || failure || 'it printed nothing'
    throw new CliError('failed', `the ${who} does not answer at ${socket}: ${said}`)
  }

  /** JSON of an answer 200. Throws a CliError otherwise. */
  async json<T>(pod: Pod, role: Role, path: string): Promise<T> {
    const { status, text } = await this.ask(pod, role, path)
    if (status !== 200)
      throw new CliError('failed', `${role}, ${path}: HTTP ${status}: ${text.trim()}`)
    try {
      return JSON.parse(text) as T
    } catch (error) {
      const message = `${role}, ${path}: no JSON: ${messageOf(error)}`
      throw new CliError('failed', message, { cause: error })
    }
  }
}
