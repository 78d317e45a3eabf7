// SPDX-License-Identifier: Apache-2.0
// A cluster for the command line: a kubeconfig with a context, requests, and commands in pods (`kubectl exec`).
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import type { KubeConfig, V1Status } from '@kubernetes/client-node'
import { messageOf, OperatorError } from '../errors.ts'
import { ApiClient, ApiError } from './client.ts'

/** Which cluster, as `kubectl` would be told. */
export interface ClusterOptions {
  /** Absent: $KUBECONFIG, else ~/.kube/config. */
  readonly kubeconfig?: string
  /** Absent: the current context of the file. */
  readonly context?: string
}

export interface ExecTarget {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly command: readonly string[]
  /** ms; default 15 000. */
  readonly timeoutMs?: number
}

/** What a command in a pod has printed, and how it ended. */
export interface ExecResult {
  readonly stdout: string
  readonly stderr: string
  /** Empty: exit code 0. */
  readonly failure: string
}

const execTimeoutMs = 15_000
/** A configuration of 50 000 endpoints is about 20 MiB of JSON. */
const maxExecBytes = 128 * 1024 * 1024

/** Files that a kubeconfig is read from when none is named; those that exist. */
export function defaultKubeconfigs(
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  const named = env['KUBECONFIG']?.split(':').filter(Boolean) ?? []
  const files = named.length > 0 ? named : [join(homedir(), '.kube', 'config')]
  return files.filter((file) => existsSync(file))
}

export class Cluster {
  readonly client: ApiClient
  readonly context: string
  readonly #config: KubeConfig

  constructor(config: KubeConfig) {
    this.#config = config
    this.client = new ApiClient(config)
    this.context = config.getCurrentContext()
  }

  /**
   * Runs a command in a container, through the API server and the kubelet. Throws an ApiError when it cannot be started; one
   * that ends with a failure is a result.
   */
  async exec(target: ExecTarget): Promise<ExecResult> {
    const { timeoutMs = execTimeoutMs } = target
    const [stdout, stderr] = [new Collector(), new Collector()]
    const { promise, reject } = Promise.withResolvers<never>()
    const late = new ApiError(0, '', `${whatOf(target)}: no end in ${timeoutMs} ms`)
    const timer = setTimeout(() => reject(late), timeoutMs)
    try {
      const failure = await this.#run(target, { stdout, stderr, stdin: null }, promise)
      return { stdout: stdout.text(), stderr: stderr.text(), failure }
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * The same, for a command that goes on: what it prints is handed on as it comes, until it ends or `signal` aborts. A runtime
   * does not kill a command whose caller has gone, so its standard input stays open as long as it is wanted: it ends by that.
   */
  async execStream(
    target: Omit<ExecTarget, 'timeoutMs'>,
    onOutput: (part: Buffer) => void,
    signal: AbortSignal,
  ): Promise<Omit<ExecResult, 'stdout'>> {
    const stderr = new Collector()
    const stdout = new Writable({
      write: (part: Buffer, _encoding, done) => {
        onOutput(part)
        done()
      },
    })
    const stdin = new Readable({ read: () => undefined })
    const { promise, resolve } = Promise.withResolvers<string>()
    const stop = (): void => resolve('')
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    try {
      const failure = await this.#run(target, { stdout, stderr, stdin }, promise)
      return { stderr: stderr.text(), failure }
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  /** Why the command failed, empty when it did not; ends the connection when `otherwise` is settled first. */
  async #run(
    target: Omit<ExecTarget, 'timeoutMs'>,
    { stdout, stderr, stdin }: Streams,
    otherwise: Promise<string>,
  ): Promise<string> {
    // It may be settled before it is raced below.
    otherwise.catch(() => undefined)
    const { namespace, pod, container, command } = target
    const { Exec } = await import('@kubernetes/client-node')
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const fail = (text: string): void =>
      reject(new ApiError(0, '', `${whatOf(target)}: ${text}`))
    const ended = (status: V1Status): void => resolve(failureOf(status))
    const argv = [...command]
    const close = new Exec(this.#config)
      .exec(namespace, pod, container, argv, stdout, stderr, stdin, false, ended)
      .then(
        (socket) => {
          socket.onerror = ({ message }) => fail(message)
          socket.onclose = () => fail('the connection broke')
          return () => socket.terminate()
        },
        // The library rejects with the socket's event.
        (error: unknown) => {
          fail(String((error as { message?: unknown }).message ?? error))
          return () => undefined
        },
      )
    try {
      return await Promise.race([promise, otherwise])
    } finally {
      void close.then((end) => end())
    }
  }

  close(): void {
    this.client.close()
  }
}

/** Reads the kubeconfig. Throws an OperatorError `SOURCE` that says what is wrong and how to say which file is meant. */
export async function connectCluster(options: ClusterOptions): Promise<Cluster> {
  // Loaded when asked for: half a second that the command line must not pay each time.
  const { KubeConfig } = await import('@kubernetes/client-node')
  const { kubeconfig, context } = options
  const config = new KubeConfig()
  const files = kubeconfig === undefined ? defaultKubeconfigs(process.env) : [kubeconfig]
  const where = files.join(':')
  if (files.length === 0) {
    const message = 'there is no kubeconfig: name one with --kubeconfig or $KUBECONFIG'
    throw new OperatorError('SOURCE', message)
  }
  try {
    if (kubeconfig === undefined) config.loadFromDefault()
    else config.loadFromFile(kubeconfig)
  } catch (error) {
    throw new OperatorError('SOURCE', `${where}: ${messageOf(error)}`, { cause: error })
  }
  if (context !== undefined) {
    const known = config.getContexts().map(({ name }) => name)
    if (!known.includes(context)) {
      const message = `${where}: there is no context "${context}"; it has ${known.join(', ')}`
      throw new OperatorError('SOURCE', message)
    }
    config.setCurrentContext(context)
  }
  if (config.getCurrentCluster() === null)
    throw new OperatorError(
      'SOURCE',
      `${where}: it names no cluster; choose one with --context`,
    )
  return new Cluster(config)
}

interface Streams {
  readonly stdout: Writable
  readonly stderr: Writable
  /** null: the command has none. */
  readonly stdin: Readable | null
}

const whatOf = ({ namespace, pod, container }: Omit<ExecTarget, 'timeoutMs'>): string =>
  `exec in pod ${namespace}/${pod} (container ${container})`

class Collector extends Writable {
  readonly #parts: Buffer[] = []
  #bytes = 0

  override _write(
    part: Buffer,
    _encoding: string,
    done: (error?: Error | null) => void,
  ): void {
    this.#bytes += part.length
    // What is beyond the limit is dropped: the reader of the text sees that it ends early.
    if (this.#bytes <= maxExecBytes) this.#parts.push(part)
    done()
  }

  text(): string {
    return Buffer.concat(this.#parts).toString('utf8')
  }
}

function failureOf({ status, message }: V1Status): string {
  return status === 'Success' ? '' : (message ?? 'it failed')
}
