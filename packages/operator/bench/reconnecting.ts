// SPDX-License-Identifier: Apache-2.0
// The nodes' side of a fail-over: what each holds, and what it is sent when all come to another replica at once.
//
//   node reconnecting.ts NODES ADDRESS
//
// Prints "held" when every node has the whole configuration of the replica at ADDRESS. Every line "summary ADDRESS" or
// "full ADDRESS" on stdin is a fail-over, with and without a summary in the hello, and one line of JSON.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Client, credentials } from '@grpc/grpc-js'
import {
  applyDelta,
  contractVersion,
  Delta,
  digestOf,
  emptyResources,
  NodeConfigService,
  Role,
  softwareVersion,
  summarize,
  type Resource,
  type Resources,
  type Summary,
} from '@pillion/contract'

const [count = '1', first = ''] = process.argv.slice(2)
const total = Number(count)
const { path, requestSerialize } = NodeConfigService.watch

interface Answer {
  readonly delta: Buffer
  readonly helloBytes: number
}

/** A stream to its first delta, which is acknowledged. */
async function connect(
  address: string,
  node: string,
  summary: Summary | undefined,
): Promise<Answer> {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': 1 << 28,
  })
  let helloBytes = 0
  const serialize: typeof requestSerialize = (value) => {
    const bytes = requestSerialize(value)
    helloBytes ||= bytes.length
    return bytes
  }
  const stream = client.makeBidiStreamRequest(path, serialize, (bytes: Buffer) => bytes)
  stream.on('error', () => undefined)
  const hello = {
    ...{ node, role: Role.AGENT, softwareVersion, contractVersion, summary },
    ...{ resumeVersion: 0, resumeEpoch: '', mapLayout: '', degraded: [] },
  }
  stream.write({ message: { $case: 'hello', value: hello } })
  const [delta] = (await once(stream, 'data')) as [Buffer]
  // Field 1 comes first: a tag and a varint of one byte, as a replica that just started has version 1.
  const version = delta[1] ?? 0
  const ack = { version, error: '', resources: [] }
  stream.write({ message: { $case: 'ack', value: ack } })
  closing.push(() => client.close())
  return { delta, helloBytes }
}
const closing: (() => void)[] = []

/** Nodes hold the same but for a few: what is the same is kept once, so that 200 nodes fit into one process. */
const shared = new Map<string, unknown>()
function hold(delta: Delta): Resources {
  for (const { name, body } of delta.upserts) {
    if (body === undefined) continue
    const key = digestOf({ name, body } as Resource)
    const known = shared.get(key)
    if (known === undefined) shared.set(key, body.value)
    else body.value = known as never
  }
  return applyDelta(emptyResources(), delta).resources
}

const held: Resources[] = []
for (let n = 0; n < total; n++) {
  const { delta } = await connect(first, `node-${n}`, undefined)
  held.push(hold(Delta.decode(delta)))
}
console.log('held')

for await (const line of createInterface(process.stdin)) {
  for (const close of closing.splice(0)) close()
  const [how, address = ''] = line.split(' ')
  const summaries = held.map((each) => (how === 'summary' ? summarize(each) : undefined))
  const began = performance.now()
  const took: number[] = []
  const answers = await Promise.all(
    summaries.map(async (summary, n) => {
      const answer = await connect(address, `node-${n}`, summary)
      took.push(performance.now() - began)
      return answer
    }),
  )
  const mean = (of: (answer: Answer) => number): number =>
    answers.reduce((sum, answer) => sum + of(answer), 0) / total
  const changes =
    how === 'full'
      ? undefined
      : [
          ...applyDelta(held[0] as Resources, Delta.decode((answers[0] as Answer).delta))
            .changes,
        ]
          .map(([kind, names]) => `${names.size} ${kind}`)
          .join(', ')
  console.log(
    JSON.stringify({
      lastMs: Math.max(...took),
      medianMs: took.sort((a, b) => a - b)[total >> 1],
      bytesDown: Math.round(mean(({ delta }) => delta.length)),
      bytesUp: Math.round(mean(({ helloBytes }) => helloBytes)),
      changesOfOne: changes,
    }),
  )
}
process.exit(0)
