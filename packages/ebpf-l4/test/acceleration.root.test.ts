// SPDX-License-Identifier: Apache-2.0
// Same-node acceleration must not be observable but for its speed: order, loss, back-pressure, half-close, reset.
import t from 'tap'
import { ExeVerdict } from '../src/index.ts'
import { Host } from './support/host.ts'

const host = await Host.create(['client', 'server'], { acceleration: 'on' })
const [client, server] = [host.pod('client'), host.pod('server')]
t.teardown(() => host.close())

const redirected = (): number => host.datapath.counters()['COUNTER_ACCEL_REDIRECTED'] ?? 0
const byTcp = (): number => {
  const counters = host.datapath.counters()
  return (counters['COUNTER_ACCEL_TCP'] ?? 0) + (counters['COUNTER_ACCEL_BULK'] ?? 0)
}

const echo = async (...ports: number[]): Promise<void> => {
  const { createServer } = await import('node:net')
  const serve = (port: number): Promise<void> =>
    new Promise((resolve) => {
      createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => undefined)
        socket.pipe(socket)
      }).listen(port, '::', resolve)
    })
  await Promise.all(ports.map(serve))
  console.log('ready')
}

/** Sends random sizes with random pauses both ways and compares checksums. */
const stream = async (address: string, totalBytes: number): Promise<void> => {
  const { connect } = await import('node:net')
  const { createHash, randomBytes, randomInt } = await import('node:crypto')
  const socket = connect(8079, address)
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  let got = 0
  socket.on('data', (data) => {
    received.update(data)
    got += data.length
  })
  let put = 0
  while (put < totalBytes) {
    const chunk = randomBytes(randomInt(1, 70_000))
    sent.update(chunk)
    put += chunk.length
    if (!socket.write(chunk))
      await new Promise((resolve) => socket.once('drain', resolve))
    if (randomInt(10) === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  socket.end()
  await new Promise((resolve) => socket.once('end', resolve))
  console.log(
    put === got && sent.digest('hex') === received.digest('hex')
      ? 'equal'
      : `${put} ${got}`,
  )
}

t.test('checksummed streams in both directions, with half-close', async (t) => {
  // Streams make a habit of their port, which the conversations below are not to meet.
  await host.serve(server, echo, 8079, 8080)
  const before = [redirected(), byTcp()] as const
  for (const address of [server.ip4, server.ip6]) {
    t.equal((await host.call(client, stream, address, 24 << 20)).out, 'equal', address)
  }
  t.ok(redirected() > before[0], 'some messages were redirected')
  t.ok(byTcp() > before[1], 'some were left to TCP: the test crosses both paths')
})

t.test('a reader that does not read blocks the writer within the bound', async (t) => {
  const stopped = async (): Promise<void> => {
    const { createServer } = await import('node:net')
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      process.stdin.once('data', () => {
        let bytes = 0
        let wrong = 0
        socket.on('data', (data) => {
          for (const byte of data) {
            if (byte !== bytes % 251) wrong++
            bytes++
          }
        })
        socket.on('end', () => console.log(`read ${bytes} wrong ${wrong}`))
        socket.resume()
      })
    })
    server.listen(8081, '::', () => console.log('ready'))
  }
  const writer = async (address: string): Promise<void> => {
    const { connect } = await import('node:net')
    const socket = connect(8081, address)
    const pattern = Buffer.from(Array.from({ length: 251 * 64 }, (_, i) => i % 251))
    let flushed = 0
    let last = -1
    const pump = (): void => {
      socket.write(pattern, () => {
        flushed += pattern.length
        if (!socket.writableEnded) pump()
      })
    }
    await new Promise((resolve) => socket.once('connect', resolve))
    pump()
    const check = setInterval(() => {
      if (flushed !== last) {
        last = flushed
        return
      }
      clearInterval(check)
      console.log(`blocked ${flushed}`)
      process.stdin.once('data', () => {
        socket.end()
        socket.on('close', () => console.log(`wrote ${socket.bytesWritten}`))
      })
    }, 300)
  }
  const reader = await host.serve(server, stopped)
  const before = redirected()
  const child = host.start(client, [
    process.execPath,
    '--input-type=module',
    '-e',
    `await (${writer.toString()})(${JSON.stringify(server.ip4)})`,
  ])
  const line = (from: typeof child): Promise<string> =>
    new Promise((resolve) =>
      from.stdout?.once('data', (data) => resolve(String(data).trim())),
    )
  const blocked = Number((await line(child)).replace('blocked ', ''))
  t.ok(redirected() > before, 'the connection was accelerated')
  t.ok(blocked < 16 << 20, `blocked after ${blocked} bytes`)
  const [wrote, read] = [line(child), line(reader)]
  child.stdin?.write('end')
  reader.stdin?.write('read')
  const bytes = /\d+/.exec(await wrote)?.[0]
  t.equal(await read, `read ${bytes} wrong 0`, 'every byte, in order')
})

t.test(
  'data, then close: nothing is lost; data, then reset: the reader is told',
  async (t) => {
    const collector = async (): Promise<void> => {
      const { createServer } = await import('node:net')
      createServer((socket) => {
        let bytes = 0
        socket.on('data', (data) => (bytes += data.length))
        socket.on('error', (error) => console.log((error as NodeJS.ErrnoException).code))
        socket.on('end', () => console.log(`end ${bytes}`))
      }).listen(8082, '::', () => console.log('ready'))
    }
    const closer = async (address: string, reset: boolean): Promise<void> => {
      const { connect } = await import('node:net')
      for (let i = 0; i < (reset ? 1 : 100); i++) {
        const socket = connect(8082, address)
        await new Promise((resolve) => socket.once('connect', resolve))
        await new Promise((resolve) => socket.write(Buffer.alloc(1000 + i), resolve))
        if (reset) socket.resetAndDestroy()
        else socket.end()
        await new Promise((resolve) => socket.once('close', resolve))
      }
    }
    const child = await host.serve(server, collector)
    let text = ''
    child.stdout?.on('data', (data) => (text += data))
    const lines = async (count: number): Promise<string[]> => {
      const until = Date.now() + 5000
      while (text.trim().split('\n').length < count && Date.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      return text.trim().split('\n')
    }
    await host.call(client, closer, server.ip4, false)
    const ends = await lines(100)
    t.same(
      new Set(ends),
      new Set(Array.from({ length: 100 }, (_, i) => `end ${1000 + i}`)),
      '100 closes, every byte of each',
    )
    text = ''
    await host.call(client, closer, server.ip4, true)
    t.equal((await lines(1)).at(-1), 'ECONNRESET')
  },
)

t.test('Auto accelerates only executables that the agent vouches for', async (t) => {
  host.datapath.setSettings({ acceleration: 'auto', proxyPort: 0 })
  const question = async (address: string): Promise<void> => {
    const { connect } = await import('node:net')
    const socket = connect(8080, address, () => socket.write('x'))
    socket.on('data', () => {
      console.log('answered')
      process.exit()
    })
  }
  // The echo server of the first test was made while the executable was unknown, so it asks now.
  const before = redirected()
  t.equal((await host.call(client, question, server.ip4)).out, 'answered')
  t.equal(redirected(), before, 'an executable that is not known yet is not accelerated')
  const asked = host.datapath.dump('pl_executables')
  t.ok(asked.length > 0, 'it was asked for')
  for (const { key } of asked) {
    host.datapath.setExecutable(key.inode, key.device, ExeVerdict.EXE_UNFIT)
  }
  await host.call(client, question, server.ip4)
  t.equal(redirected(), before, 'nor one that can splice')
  for (const { key } of asked) {
    host.datapath.setExecutable(key.inode, key.device, ExeVerdict.EXE_PLAIN)
  }
  await host.call(client, question, server.ip4)
  t.ok(redirected() > before, 'one that cannot is')
})

t.test(
  'Auto stops while many connections carry little, until one carries more',
  async (t) => {
    const now = (): bigint => process.hrtime.bigint()
    const until = (): bigint =>
      host.datapath.dump('pl_habits').find(({ key }) => key.port === 8080)?.value
        .untilNs ?? 0n
    /** Opens connections, some at a time, each with some questions. */
    const converse = async (
      address: string,
      connections: number,
      questions: number,
    ): Promise<void> => {
      const { connect } = await import('node:net')
      const { once } = (await import('node:events')).default
      const one = async (): Promise<void> => {
        const socket = connect(8080, address)
        await once(socket, 'connect')
        for (let n = 0; n < questions; n++) {
          socket.write('x')
          await once(socket, 'data')
        }
        socket.end()
        await once(socket, 'close')
      }
      for (let i = 0; i < connections; i += 50)
        await Promise.all(Array.from({ length: Math.min(50, connections - i) }, one))
    }
    await host.call(client, converse, server.ip4, 20, 1)
    t.equal(until(), 0n, 'a few short connections, like probes, are no habit')
    await host.call(client, converse, server.ip4, 1000, 1)
    t.ok(until() > now() - 1_000_000_000n, 'hundreds at once are')
    const before = redirected()
    await host.call(client, converse, server.ip4, 1, 1)
    // The habit lasts for a second; a client that takes longer to start comes too late to see it.
    t.ok(redirected() === before || until() < now(), 'the next is left to TCP')
    await host.call(client, converse, server.ip4, 1, 10)
    t.equal(until(), 0n, 'a connection that carries more is believed at once')
    const long = redirected()
    await host.call(client, converse, server.ip4, 1, 10)
    t.ok(redirected() > long, 'and the next is accelerated again')
  },
)

t.test('Auto leaves the next stream to TCP after one that had no answers', async (t) => {
  const sink = async (): Promise<void> => {
    const { createServer } = await import('node:net')
    createServer((socket) => socket.resume()).listen(8090, () => console.log('ready'))
  }
  const upload = async (address: string): Promise<void> => {
    const { connect } = await import('node:net')
    const socket = connect(8090, address)
    await new Promise((resolve) => socket.once('connect', resolve))
    await new Promise((resolve) => setTimeout(resolve, 20)) // the other end is there, too
    for (let i = 0; i < 40; i++)
      await new Promise((resolve) => socket.write(Buffer.alloc(100_000), resolve))
    socket.end()
    await new Promise((resolve) => socket.once('close', resolve))
  }
  await host.serve(server, sink)
  const bulk = (): number => host.datapath.counters()['COUNTER_ACCEL_BULK'] ?? 0
  const before = bulk()
  await host.call(client, upload, server.ip4)
  t.ok(bulk() > before, 'the first enters the sockhash and shifts down')
  const between = [bulk(), redirected()]
  await host.call(client, upload, server.ip4)
  t.same([bulk(), redirected()], between, 'the second never does')
})

t.test('a connection of which one end only is accelerated teaches nothing', async (t) => {
  const source = async (): Promise<void> => {
    const { createServer } = await import('node:net')
    createServer((socket) => socket.end(Buffer.alloc(4_000_000))).listen(8091, () =>
      console.log('ready'),
    )
  }
  // A shell blocks in read(2), so its end stays out of the sockhash; that of the server is in it, and all it says goes by TCP.
  const download = async (address: string): Promise<void> => {
    const { execFileSync } = await import('node:child_process')
    const script = `cat < /dev/tcp/${address}/8091 | wc -c`
    console.log(execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim())
  }
  await host.serve(server, source)
  t.equal((await host.call(client, download, server.ip4)).out, '4000000')
  const habit = host.datapath.dump('pl_habits').find(({ key }) => key.port === 8091)
  t.equal(habit?.value.streamUntilNs ?? 0n, 0n)
})
