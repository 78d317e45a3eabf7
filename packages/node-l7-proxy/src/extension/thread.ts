// SPDX-License-Identifier: Apache-2.0
// The thread of one version of one filter: imports its file, and calls it for one message after another. Whatever the filter does
// to this thread (an error out of nowhere, a loop, exit, too much memory) ends this thread only; filter-thread.ts notices.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { parentPort, workerData } from 'node:worker_threads'
import { checkedAnswer } from './answer.ts'
import { errorText } from './error-text.ts'
import { EditableHeaders } from './fields.ts'
import type { Filter, FilterContext } from './filter.ts'
import { Secrets } from './secrets.ts'
import { sharedMs } from './shared-ms.ts'
import { SlowLog } from './slow-log.ts'
import type { Call, FromThread, Hook, ThreadData, ToThread } from './wire.ts'

const { file, secretsDir } = workerData as ThreadData
const collectGarbage = collectorOf()
const secrets = new Secrets(secretsDir)
const lines = new SlowLog()
/** Parsed configurations; services that share a filter are few. */
const configs = new Map<string, unknown>()
const maxConfigs = 256

function send(message: FromThread): void {
  parentPort?.postMessage(message)
}

function say(level: 'info' | 'warn' | 'error', text: string): void {
  lines.tell(String(text), (line, dropped) => {
    send({ type: 'log', level, text: line, dropped })
  })
}

const shared: Pick<FilterContext, 'log' | 'secret'> = {
  log: {
    info: (text) => {
      say('info', text)
    },
    warn: (text) => {
      say('warn', text)
    },
    error: (text) => {
      say('error', text)
    },
  },
  secret: (name) => secrets.read(name, performance.now()),
}

function configOf(json: string): unknown {
  const known = configs.get(json)
  if (known !== undefined) return known
  const config = JSON.parse(json, (_key, value: unknown) =>
    Object.freeze(value),
  ) as unknown
  if (configs.size >= maxConfigs) configs.clear()
  configs.set(json, config)
  return config
}

async function run(
  filter: Filter,
  call: Call,
): Promise<Omit<FromThread & { type: 'done' }, 'seq'>> {
  const { request, ...facts } = call.facts
  const context: FilterContext = { ...facts, ...shared, config: configOf(call.config) }
  const headers = new EditableHeaders(call.headers)
  const returned =
    call.hook === 'request'
      ? await filter.onRequest?.({ ...request, headers }, context)
      : await filter.onResponse?.({ status: call.status, headers, request }, context)
  const answer = call.hook === 'request' ? checkedAnswer(returned) : undefined
  return { type: 'done', edits: headers.edits, answer }
}

/** V8's own function, which is only there for contexts that are made while the flag is set. */
function collectorOf(): () => void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  setFlagsFromString('--no-expose-gc')
  return collect
}

/** Throws a TypeError when the module is no filter. */
function filterOf(module: { readonly default?: unknown }): [Filter, Hook[]] {
  const filter = module.default
  if (typeof filter !== 'object' || filter === null)
    throw new TypeError(
      'its default export is not an object: write "export default { … }"',
    )
  const { onRequest, onResponse, ...rest } = filter as Record<string, unknown>
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined)
    throw new TypeError(`"${unknown}" of its default export is nothing that is called`)
  const hooks: Hook[] = []
  for (const [hook, value] of [
    ['request', onRequest],
    ['response', onResponse],
  ] as const) {
    if (value === undefined) continue
    if (typeof value !== 'function')
      throw new TypeError(`what it has for the ${hook} is not a function`)
    hooks.push(hook)
  }
  if (hooks.length === 0) throw new TypeError('it has neither onRequest nor onResponse')
  return [filter as Filter, hooks]
}

try {
  const [filter, hooks] = filterOf((await import(file)) as { readonly default?: unknown })
  parentPort?.on('message', (message: ToThread) => {
    if (message.type === 'ping') return send({ type: 'pong' })
    if (message.type === 'collect') return collectGarbage()
    const { seq, call, beginByMs } = message
    // Its answer would be late, and would make the next ones late as well, without an end.
    if (sharedMs() > beginByMs) return
    run(filter, call).then(
      (done) => {
        send({ ...done, seq })
      },
      (error: unknown) => {
        send({ type: 'failed', seq, error: errorText(error) })
      },
    )
  })
  send({ type: 'ready', hooks })
} catch (error) {
  send({ type: 'broken', error: errorText(error) })
}
