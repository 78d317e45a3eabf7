// SPDX-License-Identifier: Apache-2.0
// An agent that restarts tells the operator what it saved, and is changed by what differs. Root only.
import { join } from 'node:path'
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import {
  bucketOf,
  Delta,
  NodeConfigService,
  summarize,
  type Hello,
  type WatchRequest,
} from '@pillion/contract'
import t from 'tap'
import { AgentProcess, cleanUp, makePlace, save, until } from './support/agent.ts'
import { resourcesOf, shop } from './support/resources.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root: loads BPF programs'

t.test('a restarted agent resumes from what it saved', { skip }, async (t) => {
  const place = makePlace()
  const saved = resourcesOf(shop)
  await save(place, saved)
  const hellos: Hello[] = []
  const errors: string[] = []
  const server = new Server()
  const [gone = ''] = saved.servicePort.keys()
  server.addService(NodeConfigService, {
    watch: (call: ServerDuplexStream<WatchRequest, Delta>) => {
      call.on('error', () => undefined)
      call.on('data', ({ message }: WatchRequest) => {
        if (message?.$case === 'ack') errors.push(message.value.error)
        if (message?.$case !== 'hello') return
        hellos.push(message.value)
        const replaced = [{ kind: 'servicePort', buckets: [bucketOf(gone)] }]
        call.write(Delta.fromPartial({ version: 5, epoch: 'e', replaced }))
      })
    },
  })
  await new Promise<void>((resolve, reject) => {
    const address = `unix:${join(place.dir, 'operator.sock')}`
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    )
  })
  const agent = new AgentProcess(place)
  t.teardown(async () => {
    await agent.stop('SIGKILL')
    server.forceShutdown()
    cleanUp(place)
  })
  await agent.ready()
  await until(async () => errors.length === 1)
  t.same(errors, [''], 'in force')
  t.match(hellos, [{ resumeVersion: 0, summary: summarize(saved) }])
  t.same(await agent.json('/debug/diff'), [], 'the maps hold what is wanted')
  const { text } = await agent.get('/metrics')
  const services = saved.servicePort.size - 1
  t.match(
    text,
    new RegExp(`^pillion_bpf_map_entries\\{map="pl_services"[^}]*\\} ${services}$`, 'm'),
  )
})
