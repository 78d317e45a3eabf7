// SPDX-License-Identifier: Apache-2.0
// What evaluate.ts explains is what the kernel does: random policies, the same questions to both.
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Action, type DirectionPolicy, type PolicyEntry } from '@pillion/contract'
import fc from 'fast-check'
import t from 'tap'
import {
  EventKind,
  initialState,
  judgeBoth,
  plan,
  ReservedIdentity,
  type PlanContext,
  type Tables,
} from '../src/index.ts'
import { formatAddress, Host } from './support/host.ts'
import { policy, resourcesOf } from './support/resources.ts'

const host = await Host.create(['a', 'b', 'c'])
const pods = [...host.pods.values()]
t.teardown(() => host.close())

const context: PlanContext = {
  node: 'n',
  cgroups: new Map(),
  nodeCgroupId: 1n,
  kubepodsCgroupIds: [],
  proxyCgroupId: undefined,
}
const hostIdentity = ReservedIdentity.IDENTITY_HOST
const identities = [...pods.map(({ identity }) => identity), hostIdentity]

interface Probe {
  readonly protocol: number
  readonly address: string
  readonly port: number
}

/** Answers a line of probes with a line of error codes; no port is open, so what may pass is refused by TCP. */
const prober = async (): Promise<void> => {
  const { connect } = await import('node:net')
  const { createSocket } = await import('node:dgram')
  const { createInterface } = await import('node:readline')
  const code = (error: unknown): string => String((error as NodeJS.ErrnoException).code)
  const tcp = (address: string, port: number): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ host: address, port, timeout: 2000 })
      const end = (result: string): void => {
        socket.destroy()
        resolve(result)
      }
      socket.on('connect', () => end('connected'))
      socket.on('timeout', () => end('timeout'))
      socket.on('error', (error) => end(code(error)))
    })
  const udp = (address: string, port: number): Promise<string> =>
    new Promise((resolve) => {
      const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
      socket.on('error', () => 0) // port unreachable
      socket.send('x', port, address, (error) => {
        socket.close()
        resolve(error === null ? 'sent' : code(error))
      })
    })
  createInterface({ input: process.stdin }).on('line', (line) => {
    void (async () => {
      const results: string[] = []
      for (const { protocol, address, port } of JSON.parse(line) as Probe[]) {
        results.push(await (protocol === 6 ? tcp : udp)(address, port))
      }
      console.log(JSON.stringify(results))
    })()
  })
  console.log('ready')
}

/** One process a source, by its identity. */
const probers = new Map<number, (probes: readonly Probe[]) => Promise<string[]>>()

function asker(child: ChildProcess): (probes: readonly Probe[]) => Promise<string[]> {
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) throw new Error('no pipes')
  const lines = createInterface({ input: stdout })
  return (probes) =>
    new Promise((resolve) => {
      lines.once('line', (line) => resolve(JSON.parse(line) as string[]))
      stdin.write(`${JSON.stringify(probes)}\n`)
    })
}

t.before(async () => {
  for (const pod of pods) {
    probers.set(pod.identity, asker(await host.serve(pod, prober)))
  }
  const node = { namespace: host.tag, cgroup: host.root }
  probers.set(hostIdentity, asker(await host.serve(node, prober)))
})

const ports = [1, 80, 81, 95, 1024, 8080, 32_768, 65_535]
const anyEntry: fc.Arbitrary<PolicyEntry> = fc
  .record({
    peer: fc.constantFrom(0, ...identities),
    protocol: fc.constantFrom(0, 6, 17),
    port: fc.constantFrom(...ports),
    portBits: fc.constantFrom(0, 0, 1, 6, 12, 15, 16),
    action: fc.constantFrom(Action.ALLOW, Action.ALLOW, Action.DENY),
    rule: fc.integer({ min: 10, max: 99 }),
  })
  // As the operator sends it: free bits are zero.
  .map((entry) => ({
    ...entry,
    port: entry.port & (0xffff_0000 >>> entry.portBits) & 0xffff,
  }))
const anyDirection: fc.Arbitrary<DirectionPolicy | undefined> = fc.option(
  fc.record({
    isolated: fc.boolean(),
    isolationRule: fc.integer({ min: 1, max: 9 }),
    entries: fc.array(anyEntry, { maxLength: 5 }),
  }),
  { nil: undefined, freq: 4 },
)
const anyPolicies = fc.uniqueArray(
  fc.record({
    identity: fc.constantFrom(...identities),
    ingress: anyDirection,
    egress: anyDirection,
  }),
  { selector: ({ identity }) => identity, minLength: 1, maxLength: identities.length },
)
const anyProbe = fc
  .record({
    src: fc.constantFrom(...identities),
    dst: fc.constantFrom(...pods),
    protocol: fc.constantFrom(6, 17),
    port: fc.constantFrom(...ports),
    ip6: fc.boolean(),
  })
  .filter(({ src, dst }) => src !== dst.identity)

interface Asked extends Probe {
  readonly src: number
  readonly dst: number
}

/** Rule and direction of each refusal that the kernel reported. */
function refusals(): Set<string> {
  const denied = host.datapath
    .readEvents(4096)
    .all()
    .filter(({ kind }) => kind === EventKind.EVENT_DENY)
  return new Set(
    denied.map((e) =>
      [
        e.srcIdentity,
        formatAddress(e.dst),
        e.protocol,
        e.dstPort,
        e.rule,
        e.direction,
      ].join(),
    ),
  )
}

/** What differs between the kernel and evaluate.ts, for people; empty when they agree. */
async function differences(tables: Tables, asked: readonly Asked[]): Promise<string[]> {
  refusals()
  const results = new Map<Asked, string>()
  await Promise.all(
    identities.map(async (identity) => {
      const mine = asked.filter(({ src }) => src === identity)
      const got = (await probers.get(identity)?.(mine)) ?? []
      mine.forEach((probe, i) => results.set(probe, got[i] ?? 'no answer'))
    }),
  )
  const reported = refusals()
  return asked.flatMap((probe) => {
    const { src, dst, protocol, port, address } = probe
    const want = judgeBoth(tables, src, dst, protocol, port)
    const passed = protocol === 6 ? 'ECONNREFUSED' : 'sent'
    tally[want.allowed ? 'allowed' : 'denied']++
    const got = results.get(probe) ?? ''
    const what = `${src} -> ${dst} ${address} ${protocol}/${port}`
    if (got !== (want.allowed ? passed : 'EPERM')) {
      return [`${what}: ${got}, evaluated ${JSON.stringify(want)}`]
    }
    const event = [src, address, protocol, port, want.ruleId, want.direction].join()
    return want.allowed || reported.has(event)
      ? []
      : [`${what}: reported ${[...reported].join(' ')}, evaluated ${event}`]
  })
}

const tally = { allowed: 0, denied: 0 }

t.test('the kernel does what evaluate.ts says, by the same rule', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      anyPolicies,
      fc.array(anyProbe, { minLength: 12, maxLength: 24, size: 'max' }),
      async (policies, probes) => {
        const resources = resourcesOf(
          ...policies.map((p) => policy(p.identity, p.ingress, p.egress)),
        )
        const { tables } = plan(resources, context, initialState())
        host.clearPolicy()
        for (const map of ['pl_subjects', 'pl_rules'] as const) {
          for (const [key, value] of tables[map]) host.tables[map].set(key, value)
        }
        host.apply()
        const asked = probes.map(({ src, dst, protocol, port, ip6 }) => ({
          src,
          dst: dst.identity,
          protocol,
          port,
          address: ip6 ? dst.ip6 : dst.ip4,
        }))
        const found = await differences(tables, asked)
        if (found.length > 0) throw new Error(found.join('\n'))
      },
    ),
    { numRuns: 250, seed: 42 },
  )
  t.comment(`${tally.allowed} allowed, ${tally.denied} denied`)
  t.ok(tally.allowed > 1000, `${tally.allowed} probes were to pass`)
  t.ok(tally.denied > 1000, `${tally.denied} probes were to be refused`)
})
