// SPDX-License-Identifier: Apache-2.0
// The process of a pod in the policy tests: it serves ports 80 and 81 by HTTP and UDP, and answers questions about whom it
// reaches. A question is a line of JSON on a UNIX socket: [[protocol, host, port], …]; the answer is a line with a word each.
//
// Usage: prober.ts SOCKET
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { rmSync } from 'node:fs'
import { createServer as createHttpServer, request } from 'node:http'
import { connect, createServer, isIP, isIPv6 } from 'node:net'
import { createInterface } from 'node:readline'

export type Target = readonly [
  protocol: 'TCP' | 'UDP' | 'HTTP',
  host: string,
  port: number,
]

/**
 * "." it may; "X" refused at once, by EPERM; "?" the name did not resolve; anything else is no verdict. Of HTTP the status:
 * "200 proxy" came through the proxy, which adds a traceparent, "200 direct" did not.
 */
export type Answer = string

const atOnce = 64
const tcpTimeoutMs = 2000
/** A datagram may be lost: the third time, somebody dropped it. */
const udpTimeoutMs = 700
const udpTries = 3

const codeOf = (error: unknown): string =>
  String((error as NodeJS.ErrnoException).code ?? error)
const verdictOf = (error: unknown): Answer =>
  codeOf(error) === 'EPERM' ? 'X' : codeOf(error)

function tcp(host: string, port: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const end = (answer: Answer): void => {
      socket.resetAndDestroy() // no TIME_WAIT: there are many
      resolve(answer)
    }
    socket.setTimeout(tcpTimeoutMs, () => end('timeout'))
    socket.on('connect', () => end('.'))
    socket.on('error', (error) => end(verdictOf(error)))
  })
}

function udp(host: string, port: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    let tries = 0
    let timer: NodeJS.Timeout | undefined
    const end = (answer: Answer): void => {
      clearTimeout(timer)
      socket.close()
      resolve(answer)
    }
    const send = (): void => {
      if (tries++ === udpTries) return end('timeout')
      timer = setTimeout(send, udpTimeoutMs)
      socket.send('?', port, host, (error) => {
        if (error !== null) end(verdictOf(error))
      })
    }
    socket.on('message', () => end('.'))
    socket.on('error', (error) => end(verdictOf(error)))
    send()
  })
}

function http(host: string, port: number): Promise<Answer> {
  return new Promise((resolve) => {
    const req = request({ host, port, agent: false, timeout: tcpTimeoutMs })
    req.on('response', (res) => {
      const way = res.statusCode === 200 ? ` ${String(res.headers['x-way'])}` : ''
      res.resume().on('close', () => resolve(`${res.statusCode}${way}`))
    })
    req.on('timeout', () => req.destroy(new Error('timeout')))
    req.on('error', (error) => resolve(verdictOf(error)))
    req.end()
  })
}

const ways = { TCP: tcp, UDP: udp, HTTP: http }

async function ask(targets: readonly Target[]): Promise<Answer[]> {
  const names = new Map<string, Promise<string | undefined>>()
  const addressOf = (host: string): Promise<string | undefined> => {
    let address = names.get(host)
    if (address === undefined) {
      address = lookup(host, { family: 4 }).then(
        (found) => found.address,
        () => undefined,
      )
      names.set(host, address)
    }
    return address
  }
  const answers: Answer[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < targets.length; i = next++) {
      const [protocol, host, port] = targets[i] ?? ['TCP', '', 0]
      const address = isIP(host) ? host : await addressOf(host)
      answers[i] = address === undefined ? '?' : await ways[protocol](address, port)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return answers
}

function serve(port: number): void {
  createHttpServer((req, res) => {
    res.setHeader('x-way', req.headers['traceparent'] === undefined ? 'direct' : 'proxy')
    res.end()
  }).listen(port)
  const socket = createSocket('udp6')
  socket.on('message', (message, from) => {
    // An answer that is refused is the asker's silence.
    socket.send(message, from.port, from.address, () => undefined)
  })
  socket.bind(port)
}

const [path] = process.argv.slice(2)
if (path === undefined) throw new Error('usage: prober.ts SOCKET')
for (const port of [80, 81]) serve(port)
rmSync(path, { force: true })
createServer((socket) => {
  createInterface({ input: socket }).on('line', (line) => {
    void ask(JSON.parse(line) as Target[]).then((answers) =>
      socket.write(`${JSON.stringify(answers)}\n`),
    )
  })
  socket.on('error', () => undefined)
}).listen(path)
