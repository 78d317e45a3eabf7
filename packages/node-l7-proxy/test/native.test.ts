// SPDX-License-Identifier: Apache-2.0
// The addon against the real kernel, without a datapath: what fails, fails with a code.
import { once } from 'node:events'
import net from 'node:net'
import t from 'tap'
import { KernelDatapath, socketFd } from '../src/datapath.ts'
import { errnoOf } from '../src/errors.ts'
import { originLayout } from '../src/gen/layout.ts'
import { loadNative } from '../src/native.ts'
import { originSize, readOrigin } from '../src/origin.ts'
import { connectUpstream } from '../src/upstream/connector.ts'
import { classify } from '../src/upstream/failure.ts'
import { listen } from './support/http.ts'

const native = loadNative()
const plain = {
  origin: () => undefined,
  heartbeat: () => undefined,
  openSocket: (family: 4 | 6) => native.openSocket(family, undefined),
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return 'nothing thrown'
  } catch (error) {
    return errnoOf(error)
  }
}

t.test('no datapath: no origin, and nothing else works', async (t) => {
  const server = net.createServer()
  const { port, close } = await listen(server)
  const client = net.connect(port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  const kernel = new KernelDatapath(native)
  t.equal(kernel.origin(socket), undefined)
  t.equal(
    codeOf(() => kernel.openSocket(4, 300)),
    'ENOPROTOOPT',
  )
  t.equal(
    codeOf(() => {
      kernel.heartbeat(socketFd(socket), 1, process.pid)
    }),
    'ENOPROTOOPT',
  )
  socket.destroy()
  t.equal(kernel.origin(socket), undefined, 'a closed socket has none')
  client.destroy()
  await close()
})

t.test('lengths and types are checked in C', async (t) => {
  t.equal(
    codeOf(() => native.getOrigin(0, Buffer.alloc(originSize - 1))),
    'ERR_INVALID_ARG_TYPE',
  )
  t.equal(
    codeOf(() => native.getOrigin(-1, Buffer.alloc(originSize))),
    'EBADF',
  )
  t.equal(
    codeOf(() => native.openSocket(5 as 4, 1)),
    'ERR_INVALID_ARG_TYPE',
  )
  t.equal(
    codeOf(() => native.openSocket(4, 'x' as unknown as number)),
    'ERR_INVALID_ARG_TYPE',
  )
  t.equal(
    codeOf(() => native.listenSocket('example.org', 1)),
    'ERR_INVALID_ARG_TYPE',
  )
  t.equal(
    codeOf(() => native.listenSocket('x'.repeat(100), 1)),
    'ERR_INVALID_ARG_TYPE',
  )
  t.equal(
    codeOf(() => native.listenSocket('127.0.0.1', 70_000)),
    'ERR_INVALID_ARG_TYPE',
  )
})

t.test('net.Socket connects the descriptor that it was given', async (t) => {
  for (const [host, family] of [
    ['127.0.0.1', 4],
    ['::1', 6],
  ] as const) {
    const server = net.createServer((peer) => peer.end('hello'))
    server.listen(0, host)
    await once(server, 'listening')
    const { port } = server.address() as net.AddressInfo
    let fd = -1
    const datapath = {
      ...plain,
      openSocket: (asked: 4 | 6) => (fd = native.openSocket(asked, undefined)),
    }
    const socket = connectUpstream(datapath, {
      host,
      port,
      family,
      identity: 1,
      timeoutMs: 1000,
    })
    await once(socket, 'connect')
    t.equal(socketFd(socket), fd)
    const [data] = (await once(socket, 'data')) as [Buffer]
    t.equal(data.toString(), 'hello')
    socket.destroy()
    server.close()
  }
})

t.test('a refused connect, and a policy denial, are what they are', async (t) => {
  const { port, close } = await listen(net.createServer())
  await close()
  const socket = connectUpstream(plain, {
    host: '127.0.0.1',
    port,
    family: 4,
    identity: 1,
    timeoutMs: 1000,
  })
  const [error] = (await once(socket, 'error')) as [Error]
  t.equal(classify(error, 'x').kind, 'connect')
  t.equal(
    classify(Object.assign(new Error('no'), { code: 'EPERM', syscall: 'connect' }), 'x')
      .kind,
    'denied',
  )
  t.equal(
    classify(Object.assign(new Error('no'), { code: 'EPERM', syscall: 'write' }), 'x')
      .kind,
    'reset',
  )
  const kernel = new KernelDatapath(native)
  t.throws(
    () =>
      connectUpstream(kernel, {
        host: '127.0.0.1',
        port,
        family: 4,
        identity: 1,
        timeoutMs: 1000,
      }),
    { code: 'ESOCKET' },
  )
})

t.test('struct origin', async (t) => {
  const bytes = originLayout.write({
    dst: Buffer.alloc(16, 1),
    src: Buffer.alloc(16, 2),
    dstPort: 8080,
    srcPort: 40_000,
    service: 7,
    identity: 300,
    cgroup: 1n << 40n,
    cookie: 5n,
  })
  const origin = readOrigin(bytes)
  bytes.fill(0)
  t.strictSame(origin.source, Buffer.alloc(16, 2), 'not a view of what is used again')
  t.match(origin, {
    destinationPort: 8080,
    sourcePort: 40_000,
    service: 7,
    identity: 300,
    cgroup: 1n << 40n,
    cookie: 5n,
  })
})
