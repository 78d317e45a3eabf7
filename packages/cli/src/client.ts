// SPDX-License-Identifier: Apache-2.0
// The only file of the command line that talks to sockets: the lab's supervisor, the operator, the agents.
import {
  LabError,
  messageOf,
  nodePaths,
  paths,
  unixLines,
  unixRequest,
  type LabErrorCode,
  type Progress,
} from '@pillion/lab'
import { explainAnswer } from './errors.ts'

/** The supervisor's GET /status. */
export interface LabStatus {
  readonly progress: Progress
  readonly dir: string
  readonly mesh: boolean
  readonly nodes: readonly { name: string; addresses: readonly string[] }[]
  readonly processes: readonly { name: string; state: string; restarts: number }[]
  readonly pods: readonly {
    name: string
    node: string
    ready: boolean
    state: string
    restarts: number
  }[]
}

/** Starting a mesh may take as long as `up`. */
const labTimeoutMs = 120_000

/** JSON of the supervisor. Throws its error, or `not-running`. */
export async function lab<T>(
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<T> {
  const { status, text } = await unixRequest({
    socket: paths.socket,
    path,
    method,
    timeoutMs: labTimeoutMs,
    ...(body === undefined ? {} : { body }),
  })
  const value = JSON.parse(text) as T & { code: LabErrorCode; message: string }
  if (status !== 200) throw new LabError(value.code, value.message)
  return value
}

export function labStatus(): Promise<LabStatus> {
  return lab('GET', '/status')
}

/** The lab, when it has a mesh. Throws `not-running` otherwise. */
export async function meshStatus(): Promise<LabStatus> {
  const status = await labStatus()
  if (!status.mesh)
    throw new LabError('not-running', 'the lab was started with --mesh off')
  return status
}

/** JSON of the operator's admin socket. */
export function operator<T>(path: string): Promise<T> {
  return json('operator', paths.operatorAdmin, path)
}

/** JSON of a node's agent. */
export function agent<T>(node: string, path: string): Promise<T> {
  return json(`agent of ${node}`, nodePaths(node).agentSocket, path)
}

/** 200 of a node's agent or proxy at /readyz; the answer otherwise. */
export async function readiness(node: string, which: 'agent' | 'proxy'): Promise<string> {
  const { agentSocket, proxySocket } = nodePaths(node)
  const socket = which === 'agent' ? agentSocket : proxySocket
  try {
    const { status, text } = await unixRequest({
      socket,
      path: '/readyz',
      timeoutMs: 2000,
    })
    return status === 200 ? 'ready' : `not ready: ${text.trim().slice(0, 200)}`
  } catch (error) {
    return error instanceof LabError && error.code === 'not-running'
      ? 'down'
      : 'no answer'
  }
}

/** What a node's agent answers at a path of flows, line by line, until it ends or `signal` aborts. */
export function flows(
  node: string,
  path: string,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const socket = nodePaths(node).agentSocket
  return unixLines({ socket, path }, onLine, signal).catch((error: unknown) => {
    throw new LabError(
      'host',
      `the agent of ${node} does not answer: ${messageOf(error)}`,
    )
  })
}

async function json<T>(who: string, socket: string, path: string): Promise<T> {
  const { status, text } = await unixRequest({ socket, path }).catch((error: unknown) => {
    // The lab is there, one of its processes is not: that is a failure, not "no lab runs".
    throw new LabError('host', `the ${who} does not answer: ${messageOf(error)}`, {
      cause: error,
    })
  })
  if (status === 200) return JSON.parse(text) as T
  const code = status === 404 ? 'not-found' : 'host'
  throw new LabError(code, explainAnswer(who, path, status, text))
}
