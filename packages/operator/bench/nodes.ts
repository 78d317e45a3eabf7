// SPDX-License-Identifier: Apache-2.0
// The nodes' side: one stream a node, every delta decoded and acknowledged, nothing kept. What a node does with a delta is
// measured elsewhere; here 200 of them share a machine with the operator.
//
//   node nodes.ts NODES ADDRESS
//
// Prints "synced" when every node has the whole configuration; ends at a line on stdin, after one line of JSON.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Client, credentials } from '@grpc/grpc-js'
import {
  contractVersion,
  Delta,
  NodeConfigService,
  Role,
  softwareVersion,
} from '@pillion/contract'
import { markedFirst } from './objects.ts'

const [count = '1', address = ''] = process.argv.slice(2)
const total = Number(count)
/** CLOCK_MONOTONIC minus the change's number, by arrival. */
const seen: [change: number, at: string][] = []
let bytes = 0
let deltas = 0
let synced = 0
/** So many at a time get the whole configuration: one process that takes 200 at once measures itself. */
const atOnce = 20
let next = Math.min(total, atOnce)

const { path, requestSerialize } = NodeConfigService.watch
function follow(node: string): void {
  const options = {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': 1 << 28,
  }
  const client = new Client(address, credentials.createInsecure(), options)
  const decode = (buffer: Buffer): Delta => {
    if (synced >= total) {
      bytes += buffer.length
      deltas++
    }
    return Delta.decode(buffer)
  }
  const stream = client.makeBidiStreamRequest(path, requestSerialize, decode)
  stream.on('error', (error) => {
    console.error(node, error.message)
    process.exit(1)
  })
  stream.on('data', (delta: Delta) => {
    const at = String(process.hrtime.bigint())
    for (const { body } of delta.full ? [] : delta.upserts) {
      if (body?.$case !== 'endpoint' || body.value.address[12] !== markedFirst) continue
      seen.push([Buffer.from(body.value.address).readUIntBE(13, 3), at])
    }
    stream.write({
      message: {
        $case: 'ack',
        value: { version: delta.version, error: '', resources: [] },
      },
    })
    if (!delta.full) return
    if (++synced === total) console.log('synced')
    if (next < total) follow(`node-${next++}`)
  })
  const hello = {
    ...{ node, role: Role.AGENT, softwareVersion, contractVersion },
    ...{
      resumeVersion: 0,
      resumeEpoch: '',
      mapLayout: '',
      summary: undefined,
      degraded: [],
    },
  }
  stream.write({ message: { $case: 'hello', value: hello } })
}

for (let n = next; n > 0; n--) follow(`node-${n - 1}`)
await once(createInterface(process.stdin), 'line')
// A pipe takes a long line in pieces: end when it has it all.
process.stdout.write(`${JSON.stringify({ seen, bytes, deltas })}\n`, () =>
  process.exit(0),
)
