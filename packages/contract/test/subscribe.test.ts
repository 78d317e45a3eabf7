// SPDX-License-Identifier: Apache-2.0
// The subscription against a real gRPC server on a UNIX socket, scripted by the test.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import {
  Delta,
  emptyResources,
  NodeConfigService,
  Role,
  subscribe,
  summarize,
  type Ack,
  type Changes,
  type Hello,
  type Resources,
  type Subscription,
  type WatchRequest,
} from '../src/index.ts'

type Call = ServerDuplexStream<WatchRequest, Delta>

class Operator {
  readonly address: string
  readonly hellos: Hello[] = []
  readonly acks: Ack[] = []
  call: Call | undefined
  #server = new Server()

  constructor(address: string) {
    this.address = address
  }

  async listen(): Promise<void> {
    this.#server = new Server()
    this.#server.addService(NodeConfigService, {
      watch: (call: Call) => {
        this.call = call
        call.on('error', () => undefined)
        call.on('data', ({ message }: WatchRequest) => {
          if (message?.$case === 'hello') this.hellos.push(message.value)
          if (message?.$case === 'ack') this.acks.push(message.value)
        })
      },
    })
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(this.address, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      )
    })
  }

  send(version: number, names: readonly string[], rest: Partial<Delta> = {}): void {
    const upserts = names.map((name) => ({
      name,
      body: { $case: 'rule', value: { id: version, text: name } } as const,
    }))
    this.call?.write({
      version,
      epoch: 'e',
      full: false,
      removals: [],
      replaced: [],
      ...rest,
      upserts,
    })
  }

  kill(): void {
    this.#server.forceShutdown()
  }
}

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`)
    await sleep(5)
  }
}

type Update = (resources: Resources, changes: Changes) => void | Promise<void>

async function start(
  t: Test,
  onUpdate: Update,
): Promise<{ operator: Operator; subscription: Subscription }> {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-subscribe-'))
  const operator = new Operator(`unix:${join(dir, 's')}`)
  await operator.listen()
  const subscription = subscribe({
    address: operator.address,
    node: 'node-1',
    role: Role.AGENT,
    onUpdate,
    backoffMinMs: 5,
    backoffMaxMs: 50,
  })
  t.teardown(async () => {
    await subscription.close()
    operator.kill()
    rmSync(dir, { recursive: true })
  })
  await until('hello', () => operator.hellos.length === 1)
  return { operator, subscription }
}

const names = (resources: Resources): string[] => [...resources.rule.keys()]

t.test('deltas are applied in order and acknowledged', async (t) => {
  const seen: string[][] = []
  const { operator, subscription } = await start(t, (resources) => {
    seen.push(names(resources))
  })
  t.match(operator.hellos[0], { node: 'node-1', role: Role.AGENT, resumeVersion: 0 })
  operator.send(1, ['a', 'b'], { full: true })
  operator.send(2, ['c'], { removals: [{ kind: 'rule', name: 'a' }] })
  await until('acks', () => operator.acks.length === 2)
  t.same(seen, [
    ['a', 'b'],
    ['b', 'c'],
  ])
  t.same(
    operator.acks.map(({ version, error }) => [version, error]),
    [
      [1, ''],
      [2, ''],
    ],
  )
  t.match(subscription.state(), { kind: 'streaming', version: 2, refused: undefined })
})

t.test(
  'a throw refuses; the previous resources stay and the next delta is on them',
  async (t) => {
    const { operator, subscription } = await start(t, (resources) => {
      if (resources.rule.has('bad')) throw new Error('no room for bad')
    })
    operator.send(1, ['a'], { full: true })
    operator.send(2, ['bad'])
    await until('refusal', () => operator.acks.length === 2)
    t.match(operator.acks[1], { version: 2, error: 'no room for bad' })
    t.same(names(subscription.resources()), ['a'])
    t.match(subscription.state(), { version: 1, refused: 'no room for bad' })
    operator.send(3, ['b'])
    await until('third', () => operator.acks.length === 3)
    t.same(names(subscription.resources()), ['a', 'b'])
    t.match(subscription.state(), { version: 3, refused: undefined })
  },
)

t.test('updates never overlap: the next waits until this one has settled', async (t) => {
  let running = 0
  let most = 0
  const releases: (() => void)[] = []
  const { operator } = await start(t, async () => {
    most = Math.max(most, ++running)
    await new Promise<void>((resolve) => releases.push(resolve))
    running--
  })
  for (let version = 1; version <= 3; version++) operator.send(version, [`r${version}`])
  for (let done = 1; done <= 3; done++) {
    await until('an update', () => releases.length === done)
    t.equal(operator.acks.length, done - 1, 'no acknowledgement before it is in force')
    releases[done - 1]?.()
    await until('its ack', () => operator.acks.length === done)
  }
  t.equal(most, 1)
})

t.test('a lost operator is found again and asked to resume', async (t) => {
  const { operator, subscription } = await start(t, () => undefined)
  operator.send(7, ['a'], { full: true })
  await until('ack', () => operator.acks.length === 1)
  operator.kill()
  await until('waiting', () => subscription.state().kind !== 'streaming')
  t.same(names(subscription.resources()), ['a'], 'the last good stays')
  await operator.listen()
  await until('second hello', () => operator.hellos.length === 2)
  t.match(operator.hellos[1], { resumeVersion: 7, resumeEpoch: 'e' })
  const [, second] = operator.hellos
  t.same(operator.hellos[0]?.summary, undefined, 'who holds nothing says nothing')
  t.same(second?.summary, summarize(subscription.resources()), 'what it holds')
})

t.test('a delta without a change moves the version and nothing else', async (t) => {
  let updates = 0
  const { operator, subscription } = await start(t, () => void updates++)
  operator.send(7, ['a'], { full: true })
  operator.send(1, [], { epoch: 'another' })
  await until('acks', () => operator.acks.length === 2)
  t.match(subscription.state(), { kind: 'streaming', version: 1, epoch: 'another' })
  t.equal(updates, 1)
})

t.test('what an earlier run left in force is said at once', async (t) => {
  const { operator } = await start(t, () => undefined)
  const rules = new Map([['a', { id: 1, text: 'a' }]])
  const initial = { ...emptyResources(), rule: rules }
  const second = subscribe({
    ...{ address: operator.address, node: 'node-2', role: Role.AGENT, initial },
    onUpdate: () => {
      t.fail('nothing has changed')
    },
  })
  t.teardown(() => second.close())
  await until('its hello', () => operator.hellos.length === 2)
  t.match(operator.hellos[1], { resumeVersion: 0, summary: summarize(initial) })
  t.equal(second.resources(), initial)
  operator.send(3, [])
  await until('its ack', () => operator.acks.length === 1)
  t.match(second.state(), { kind: 'streaming', version: 3 })
})

t.test('close during an update waits for it and leaves no timer', async (t) => {
  let release: (() => void) | undefined
  const { operator, subscription } = await start(
    t,
    () => new Promise<void>((resolve) => (release = resolve)),
  )
  operator.send(1, ['a'])
  await until('running', () => release !== undefined)
  let closed = false
  const closing = subscription.close().then(() => (closed = true))
  await sleep(20)
  t.equal(closed, false)
  release?.()
  await closing
  t.equal(closed, true)
})
