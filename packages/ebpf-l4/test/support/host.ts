// SPDX-License-Identifier: Apache-2.0
// A node made of namespaces: pods on a bridge, each with a cgroup, under a datapath of their own. Root only.
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatAddress, parseAddress } from '@pillion/contract'
import * as l4 from '../../src/index.ts'
import { removeCgroups } from './cgroups.ts'

const repository = join(import.meta.dirname, '../../../..')

export interface Result {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** A namespace and a cgroup. */
export interface Pod {
  readonly name: string
  readonly namespace: string
  readonly cgroup: string
  readonly identity: number
  readonly ip4: string
  readonly ip6: string
}

interface ServiceSpec {
  address: string
  port: number
  protocol?: number
  l7?: boolean
  failureMode?: number
  affinitySeconds?: number
  backends: { pod: Pod; port: number; weight?: number; ip6?: boolean }[]
}

interface RuleSpec {
  subject: Pod | number
  direction: number
  isolated: boolean
  rule?: number
  allow?: { peer: Pod | number; protocol?: number; port?: number; rule?: number }[]
  deny?: { peer: Pod | number; protocol?: number; port?: number; rule?: number }[]
}

const u32 = (n: number): Buffer => {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(n)
  return buffer
}
const u64 = (n: bigint): Buffer => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(n)
  return buffer
}
/** As two digits of an IPv6 address. */
const hex = (n: number): string => n.toString(16).padStart(2, '0')
const id = (who: Pod | number): number => (typeof who === 'number' ? who : who.identity)

type OpenOptions = Pick<l4.DatapathOptions, 'deadmanMs' | 'telemetry'>

export class Host {
  readonly tag: string
  readonly root: string
  readonly pinDir: string
  readonly proxyCgroup: string
  readonly pods = new Map<string, Pod>()
  readonly tables: Record<l4.ConfiguredMap, Map<string, Buffer>>
  readonly #children = new Set<ChildProcess>()
  datapath!: l4.Datapath

  /** Third number of its addresses: hosts of one test are 9, 10, … */
  readonly net: number
  static #made = 0

  private constructor() {
    this.net = 9 + Host.#made++
    this.tag = `pt${process.pid.toString(36)}${this.net === 9 ? '' : this.net}`
    this.root = join(l4.cgroup2Mount(), `pillion-test-${this.tag}`)
    this.pinDir = `/sys/fs/bpf/pillion-test-${this.tag}`
    this.proxyCgroup = join(this.root, 'system/proxy')
    this.tables = Object.fromEntries(
      l4.configuredMaps.map((name) => [name, new Map<string, Buffer>()]),
    ) as Host['tables']
  }

  /** Pods are named; each has an identity from 300 on and both address families. */
  static async create(
    podNames: string[],
    settings: Partial<l4.DatapathSettings> = {},
    options: OpenOptions = {},
  ): Promise<Host> {
    const host = new Host()
    execFileSync('sh', [
      '-c',
      'mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf',
    ])
    mkdirSync(host.proxyCgroup, { recursive: true })
    host.#network(podNames)
    host.#identities()
    try {
      await host.open(options)
    } catch (error) {
      await host.#remove()
      throw error
    }
    host.datapath.setSettings({ acceleration: 'off', proxyPort: 0, ...settings })
    host.apply()
    return host
  }

  async open(options: OpenOptions = {}): Promise<void> {
    this.datapath = await l4.Datapath.open({
      objectDir: join(repository, 'bpf/.output'),
      pinDir: this.pinDir,
      cgroupRoot: this.root,
      proxyCgroup: this.proxyCgroup,
      ...options,
    })
  }

  /** The node's own addresses. */
  get ip4(): string {
    return `10.${this.net}.0.254`
  }
  get ip6(): string {
    return `fd${hex(this.net)}::fe`
  }

  #network(podNames: string[]): void {
    const lines = [
      `ip netns add ${this.tag}`,
      `ip -n ${this.tag} link set lo up`,
      `ip -n ${this.tag} link add br0 address 02:00:00:00:00:01 type bridge`,
      `ip -n ${this.tag} addr add ${this.ip4}/24 dev br0`,
      `ip -n ${this.tag} addr add ${this.ip6}/64 dev br0 nodad`,
      `ip -n ${this.tag} link set br0 up`,
    ]
    podNames.forEach((name, i) => {
      const pod: Pod = {
        name,
        namespace: `${this.tag}-${name}`,
        cgroup: join(this.root, 'kubepods', `pod${name}`),
        identity: 300 + (this.net - 9) * 100 + i,
        ip4: `10.${this.net}.0.${i + 1}`,
        ip6: `fd${hex(this.net)}::${i + 1}`,
      }
      mkdirSync(pod.cgroup, { recursive: true })
      this.pods.set(name, pod)
      lines.push(
        `ip netns add ${pod.namespace}`,
        `ip -n ${pod.namespace} link set lo up`,
        `ip -n ${this.tag} link add v${i} type veth peer name eth0 netns ${pod.namespace}`,
        `ip -n ${this.tag} link set v${i} master br0 up`,
        `ip -n ${pod.namespace} addr add ${pod.ip4}/24 dev eth0`,
        `ip -n ${pod.namespace} addr add ${pod.ip6}/64 dev eth0 nodad`,
        `ip -n ${pod.namespace} link set eth0 up`,
        `ip -n ${pod.namespace} route add default via ${this.ip4}`,
        `ip -n ${pod.namespace} route add default via ${this.ip6}`,
      )
    })
    execFileSync('sh', ['-ec', lines.join('\n')])
  }

  #identities(): void {
    const { pl_cgroups } = this.tables
    const workload = (path: string, identity: number, proxy = 0): void => {
      const key = l4.tableKey(u64(l4.cgroupId(path)))
      pl_cgroups.set(key, l4.workloadLayout.write({ identity, proxy }))
    }
    const address = this.address.bind(this)
    workload(this.root, l4.ReservedIdentity.IDENTITY_HOST)
    workload(join(this.root, 'kubepods'), l4.ReservedIdentity.IDENTITY_UNMANAGED)
    workload(this.proxyCgroup, l4.ReservedIdentity.IDENTITY_HOST, 1)
    const nodeFlags = l4.AddrFlag.ADDR_LOCAL | l4.AddrFlag.ADDR_NODE
    address(this.ip4, l4.ReservedIdentity.IDENTITY_HOST, nodeFlags)
    address(this.ip6, l4.ReservedIdentity.IDENTITY_HOST, nodeFlags)
    for (const pod of this.pods.values()) {
      workload(pod.cgroup, pod.identity)
      address(pod.ip4, pod.identity, l4.AddrFlag.ADDR_LOCAL)
      address(pod.ip6, pod.identity, l4.AddrFlag.ADDR_LOCAL)
    }
  }

  /** Says who is at an address; `flags` are AddrFlag. */
  address(text: string, identity: number, flags: number): void {
    const key = l4.addrKeyLayout.write({ prefixLength: 128, addr: parseAddress(text) })
    const value = l4.addrInfoLayout.write({ identity, flags })
    this.tables.pl_addresses.set(l4.tableKey(key), value)
  }

  pod(name: string): Pod {
    const pod = this.pods.get(name)
    if (pod === undefined) throw new Error(`no pod ${name}`)
    return pod
  }

  #serviceId = 100

  /** Adds a service whose slots follow the weights exactly: a slot for each unit of weight. */
  service(spec: ServiceSpec): number {
    const number = (this.#serviceId += 1)
    const slots = spec.backends.flatMap((b) => Array<typeof b>(b.weight ?? 1).fill(b))
    slots.forEach((backend, slot) => {
      const backendId = number * 1000 + slot
      const addr = parseAddress(backend.ip6 ? backend.pod.ip6 : backend.pod.ip4)
      this.tables.pl_backends.set(
        l4.tableKey(u32(backendId)),
        l4.backendLayout.write({
          addr,
          port: backend.port,
          identity: backend.pod.identity,
        }),
      )
      this.tables.pl_slots.set(
        l4.tableKey(l4.slotKeyLayout.write({ set: number, slot })),
        l4.slotLayout.write({
          threshold: 0xffffffff,
          primary: backendId,
          alias: backendId,
        }),
      )
      this.tables.pl_members.set(
        l4.tableKey(l4.memberKeyLayout.write({ set: number, backend: backendId })),
        l4.memberLayout.write({ backend: backendId }),
      )
    })
    const key = {
      addr: parseAddress(spec.address),
      port: spec.port,
      protocol: spec.protocol ?? 6,
    }
    this.tables.pl_services.set(
      l4.tableKey(l4.serviceKeyLayout.write(key)),
      l4.serviceLayout.write({
        id: number,
        set: number,
        slots: slots.length,
        affinityS: spec.affinitySeconds ?? 0,
        l7: spec.l7 ? 1 : 0,
        failureMode: spec.failureMode ?? 0,
      }),
    )
    return number
  }

  /** Adds what a policy says about one subject and direction; ports are single ports or any. */
  policy(spec: RuleSpec): void {
    const { pl_rules, pl_subjects } = this.tables
    const entries = [
      ...(spec.allow ?? []).map((r) => ({ ...r, verdict: l4.Verdict.VERDICT_ALLOW })),
      ...(spec.deny ?? []).map((r) => ({ ...r, verdict: l4.Verdict.VERDICT_DENY })),
    ]
    let portBlocks = 0
    for (const entry of entries) {
      const portBits = entry.port === undefined ? 0 : 16
      portBlocks |= 1 << portBits
      const key = l4.ruleKeyLayout.write({
        subject: id(spec.subject),
        peer: id(entry.peer),
        direction: spec.direction,
        protocol: entry.protocol ?? 0,
        portBits,
        port: entry.port ?? 0,
      })
      const value = l4.ruleLayout.write({ rule: entry.rule ?? 0, verdict: entry.verdict })
      pl_rules.set(l4.tableKey(key), value)
    }
    const subject = { identity: id(spec.subject), direction: spec.direction }
    pl_subjects.set(
      l4.tableKey(l4.subjectKeyLayout.write(subject)),
      l4.subjectLayout.write({
        isolated: spec.isolated ? 1 : 0,
        isolationRule: spec.rule ?? 0,
        portBlocks,
        hasDeny: spec.deny === undefined ? 0 : 1,
      }),
    )
  }

  clearPolicy(): void {
    this.tables.pl_rules.clear()
    this.tables.pl_subjects.clear()
  }

  apply(): l4.ApplyReport {
    // Copies: the datapath compares with the tables that it was given last.
    const copy = Object.fromEntries(
      l4.configuredMaps.map((name) => [name, new Map(this.tables[name])]),
    ) as unknown as l4.Tables
    return this.datapath.apply(copy)
  }

  /** Starts a process in a pod, or in the node's own namespace and any cgroup. */
  start(pod: Pod | { namespace: string; cgroup: string }, argv: string[]): ChildProcess {
    const enter =
      'echo $$ > "$1/cgroup.procs"; ns=$2; shift 2; exec nsenter --net="$ns" "$@"'
    const child = spawn(
      'sh',
      ['-c', enter, 'sh', pod.cgroup, `/var/run/netns/${pod.namespace}`, ...argv],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    )
    this.#children.add(child)
    child.on('exit', () => this.#children.delete(child))
    return child
  }

  /** Where the proxy lives: the node's namespace, the proxy's cgroup. */
  get proxy(): { namespace: string; cgroup: string } {
    return { namespace: this.tag, cgroup: this.proxyCgroup }
  }

  run(
    pod: Pod | { namespace: string; cgroup: string },
    argv: string[],
    timeoutMs = 20_000,
  ): Promise<Result> {
    const child = this.start(pod, argv)
    let out = ''
    let err = ''
    child.stdout?.on('data', (data) => (out += data))
    child.stderr?.on('data', (data) => (err += data))
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    return new Promise((resolve) =>
      child.on('close', (code) => {
        clearTimeout(timer)
        resolve({ code, out: out.trim(), err: err.trim() })
      }),
    )
  }

  /** Runs a function in a pod; its arguments are JSON. It reports by console.log. */
  call<A extends unknown[]>(
    pod: Pod | { namespace: string; cgroup: string },
    fn: (...args: A) => unknown,
    ...args: A
  ): Promise<Result> {
    return this.run(pod, nodeArgv(fn, args))
  }

  /** Starts a function in a pod and waits until it prints `ready`. */
  async serve<A extends unknown[]>(
    pod: Pod | { namespace: string; cgroup: string },
    fn: (...args: A) => unknown,
    ...args: A
  ): Promise<ChildProcess> {
    const child = this.start(pod, nodeArgv(fn, args))
    let text = ''
    child.stderr?.on('data', (data) => process.stderr.write(data as Buffer))
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', (data) => {
        text += data
        if (text.includes('ready')) resolve()
      })
      child.on('exit', (code) => reject(new Error(`server ended with ${code}: ${text}`)))
    })
    return child
  }

  /** Drains events until one fits. */
  async event(
    fits: (event: l4.FlowEvent) => boolean,
    deadlineMs = 3000,
  ): Promise<l4.FlowEvent> {
    const until = Date.now() + deadlineMs
    while (Date.now() < until) {
      const found = this.datapath.readEvents(4096).all().find(fits)
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error('no such event')
  }

  async close(): Promise<void> {
    this.datapath.close()
    const gone = [...this.#children].map((c) => new Promise((r) => c.on('exit', r)))
    if (existsSync(join(this.root, 'cgroup.kill')))
      writeFileSync(join(this.root, 'cgroup.kill'), '1')
    else for (const child of this.#children) child.kill('SIGKILL') // before Linux 5.14
    await Promise.all(gone)
    await this.#remove()
  }

  async #remove(): Promise<void> {
    l4.removePins(this.pinDir)
    const spaces = [this.tag, ...[...this.pods.values()].map((pod) => pod.namespace)]
    for (const name of spaces) execFileSync('ip', ['netns', 'del', name])
    await removeCgroups(this.root)
  }
}

function nodeArgv(fn: (...args: never[]) => unknown, args: unknown[]): string[] {
  const code = `await (${fn.toString()})(...${JSON.stringify(args)})`
  return [process.execPath, '--input-type=module', '-e', code]
}

export { formatAddress, parseAddress }
