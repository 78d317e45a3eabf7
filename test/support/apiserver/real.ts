// SPDX-License-Identifier: Apache-2.0
// A real kube-apiserver with its etcd, started as envtest does, behind the interface of the stand-in. Users are client
// certificates of a CA that is made here, so that any name can be had without asking the server.
import { spawn, type ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Authority } from './certificate.ts'
import { Client } from './client.ts'
import { kubeconfigText, type AccessTo, type ApiServer } from './interface.ts'

const startMs = 60_000

/** The folder that `KUBEBUILDER_ASSETS` names. Throws if it is set but lacks a program: a typing error must not pass as "none". */
export function realAssets(): string | undefined {
  const folder = process.env['KUBEBUILDER_ASSETS']
  if (folder === undefined || folder === '') return undefined
  for (const program of ['kube-apiserver', 'etcd']) {
    try {
      accessSync(join(folder, program), constants.X_OK)
    } catch (cause) {
      const message = `KUBEBUILDER_ASSETS=${folder}: no program ${program} in it; unset it, or install both there`
      throw new Error(message, { cause })
    }
  }
  return folder
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return port
}

/** A program of the control plane and the end of what it said. */
class Program {
  readonly #path: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined
  #said = ''

  constructor(path: string, args: readonly string[]) {
    this.#path = path
    this.#args = args
  }

  start(): void {
    const child = spawn(this.#path, this.#args, { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-4000)
    })
    child.on('error', (error) => (this.#said += error.message))
    this.#child = child
  }

  /** What it said last, if it is not running any more. */
  get failure(): string | undefined {
    const ended = this.#child?.exitCode ?? this.#child?.signalCode
    return ended === null ? undefined : `${this.#path} ended (${ended}): ${this.#said}`
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null)
      return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGCONT')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await ended
    clearTimeout(timer)
  }
}

interface Place {
  readonly dir: string
  readonly authority: Authority
  readonly etcdPort: number
  readonly port: number
}

function etcdArgs({ dir, etcdPort }: Place, peerPort: number): string[] {
  const client = `http://127.0.0.1:${etcdPort}`
  const peer = `http://127.0.0.1:${peerPort}`
  return [
    ...['--data-dir', join(dir, 'etcd'), '--unsafe-no-fsync'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', `default=${peer}`],
  ]
}

function apiServerArgs({ dir, authority, etcdPort, port }: Place): string[] {
  const file = (name: string, text: string): string => {
    const path = join(dir, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  const own = authority.serverCertificate()
  const accounts = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const accountKey = accounts.export({ type: 'sec1', format: 'pem' }) as string
  const keyFile = file('service-accounts.key', accountKey)
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    ...['--bind-address=127.0.0.1', `--secure-port=${port}`],
    '--advertise-address=127.0.0.1',
    `--cert-dir=${dir}`,
    `--tls-cert-file=${file('server.crt', own.cert)}`,
    `--tls-private-key-file=${file('server.key', own.key)}`,
    `--client-ca-file=${file('ca.crt', authority.cert)}`,
    '--service-cluster-ip-range=10.96.0.0/16',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${keyFile}`,
    `--service-account-signing-key-file=${keyFile}`,
    '--authorization-mode=RBAC',
    '--allow-privileged=true',
    // As in envtest: no controller makes the accounts that this would wait for.
    '--disable-admission-plugins=ServiceAccount',
  ]
}

async function ready(client: Client, programs: readonly Program[]): Promise<void> {
  const deadline = Date.now() + startMs
  for (;;) {
    const failure = programs.map((program) => program.failure).find(Boolean)
    if (failure !== undefined) throw new Error(failure)
    const reply = await client.get('/readyz').catch(() => undefined)
    if (reply?.code === 200) return
    if (Date.now() > deadline)
      throw new Error(
        `kube-apiserver: not ready in ${startMs} ms; last answer ${reply?.code}`,
      )
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Starts etcd and kube-apiserver from a folder. The caller closes them; nothing stays behind. */
export async function startRealApiServer(assets: string): Promise<ApiServer> {
  const place: Place = {
    dir: mkdtempSync(join(tmpdir(), 'pillion-apiserver-')),
    authority: new Authority(),
    etcdPort: await freePort(),
    port: await freePort(),
  }
  const { authority, port } = place
  const etcd = new Program(join(assets, 'etcd'), etcdArgs(place, await freePort()))
  const server = new Program(join(assets, 'kube-apiserver'), apiServerArgs(place))
  const url = `https://127.0.0.1:${port}`
  const access = (user: string, groups: readonly string[] = []): AccessTo => {
    const all = user === 'admin' ? [...groups, 'system:masters'] : groups
    return { url, ca: authority.cert, ...authority.userCertificate(user, all) }
  }
  const clients: Client[] = []
  const client = (user = 'admin', groups?: readonly string[]): Client => {
    const made = new Client(access(user, groups))
    clients.push(made)
    return made
  }
  const start = async (): Promise<void> => {
    server.start()
    await ready(client(), [etcd, server])
  }
  const close = async (): Promise<void> => {
    for (const open of clients) open.close()
    await server.stop()
    await etcd.stop()
    rmSync(place.dir, { recursive: true, force: true })
  }
  try {
    etcd.start()
    await start()
  } catch (error) {
    await close()
    throw error
  }
  return {
    ...{ name: 'kube-apiserver', url, ca: authority.cert, client, start, close },
    kubeconfig: (user = 'admin', groups) => kubeconfigText(access(user, groups)),
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
    stop: () => server.stop(),
    restart: async () => {
      await server.stop()
      await start()
    },
  }
}
