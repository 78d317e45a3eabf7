// SPDX-License-Identifier: Apache-2.0
// A cluster for tests of the command: the stand-in, pods whose processes are servers of this test, and `pillion` itself.
import { spawn } from 'node:child_process'
import { createServer, type ServerResponse } from 'node:http'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import {
  startApiServer,
  type Client,
  type StandIn,
} from '../../../../test/support/apiserver/index.ts'
import { startKubelet, type Kubelet } from './kubelet.ts'

const main = resolve(import.meta.dirname, '../../src/main.ts')
export const namespace = 'pillion-system'

export interface Run {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** What an admin endpoint answers, by path with query; a function answers itself. */
export type Answers = Record<string, unknown>
export type Answerer = (res: ServerResponse) => void

export class TestCluster {
  readonly server: StandIn
  readonly kubelet: Kubelet
  readonly client: Client
  readonly dir: string
  readonly #closers: (() => Promise<void>)[] = []

  constructor(server: StandIn, kubelet: Kubelet) {
    this.server = server
    this.kubelet = kubelet
    this.client = server.client()
    this.dir = mkdtempSync(join(tmpdir(), 'pillion-cli-'))
    writeFileSync(join(this.dir, 'kubeconfig'), kubelet.kubeconfig)
  }

  /** Runs `pillion ARGS --kubeconfig …` in the directory of the test. */
  pillion(...args: string[]): Promise<Run> {
    return this.#spawn(args).ended
  }

  /** The same, for one that goes on: `interrupt` presses Ctrl-C. */
  pillionStart(...args: string[]): {
    readonly out: () => string
    interrupt(): Promise<Run>
  } {
    const { child, ended, run } = this.#spawn(args)
    return {
      out: () => run.out,
      interrupt: () => {
        child.kill('SIGINT')
        return ended
      },
    }
  }

  #spawn(args: readonly string[]) {
    const all = [main, ...args, '--kubeconfig', join(this.dir, 'kubeconfig')]
    const child = spawn(process.execPath, all, { cwd: this.dir })
    const run = { out: '', err: '' }
    child.stdout.on('data', (text: Buffer) => (run.out += text.toString()))
    child.stderr.on('data', (text: Buffer) => (run.err += text.toString()))
    const ended = new Promise<Run>((done) =>
      child.on('close', (code) => done({ code, ...run })),
    )
    return { child, ended, run }
  }

  async pillionJson<T>(...args: string[]): Promise<T> {
    const { out, err, code } = await this.pillion(...args, '-o', 'json')
    try {
      return JSON.parse(out) as T
    } catch {
      throw new Error(`pillion ${args.join(' ')}: ${code}: ${out}${err}`)
    }
  }

  /** Creates an object and gives it a status. Throws the server's refusal. */
  async create(collection: string, object: object, status?: object): Promise<void> {
    const made = await this.client.create(collection, object)
    if (made.code !== 201) throw new Error(JSON.stringify(made.body))
    if (status !== undefined) {
      const { name } = (object as { metadata: { name: string } }).metadata
      await this.client.merge(`${collection}/${name}/status`, { status })
    }
  }

  /** A pod of the installation, whose containers answer on UNIX sockets. */
  async pod(
    name: string,
    account: string,
    node: string,
    containers: Readonly<Record<string, Answers>>,
  ): Promise<void> {
    const specs = Object.keys(containers).map((container) => ({
      name: container,
      image: 'x',
      args: [`--admin-socket=${join(this.dir, `${name}-${container}.sock`)}`],
      env: [{ name: 'PLANTED', value: 'env-secret-5f1' }],
    }))
    for (const [container, answers] of Object.entries(containers))
      await this.#serve(join(this.dir, `${name}-${container}.sock`), answers)
    await this.create(
      `/api/v1/namespaces/${namespace}/pods`,
      {
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name } },
        spec: { nodeName: node, serviceAccountName: account, containers: specs },
      },
      {
        phase: 'Running',
        containerStatuses: specs.map((spec) => ({
          ...{ name: spec.name, image: 'x', imageID: '', ready: true, restartCount: 0 },
        })),
      },
    )
  }

  async close(): Promise<void> {
    for (const close of this.#closers) await close()
    await this.kubelet.close()
    await this.server.close()
    rmSync(this.dir, { recursive: true })
  }

  #serve(path: string, answers: Answers): Promise<void> {
    const server = createServer((req, res) => {
      const answer = answers[req.url ?? '']
      if (typeof answer === 'function') {
        ;(answer as Answerer)(res)
        return
      }
      res.statusCode = answer === undefined ? 404 : 200
      res.end(typeof answer === 'string' ? answer : JSON.stringify(answer ?? null))
    })
    this.#closers.push(() => new Promise((done) => void server.close(() => done())))
    return new Promise((done) => server.listen(path, done))
  }
}

export async function startCluster(): Promise<TestCluster> {
  const server = await startApiServer()
  const cluster = new TestCluster(server, await startKubelet(server))
  await cluster.create('/api/v1/namespaces', {
    ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
  })
  return cluster
}
