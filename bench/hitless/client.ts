// SPDX-License-Identifier: Apache-2.0
// Load of every kind at once, from one pod: each request has a body of its own that must come back. Clients do what the
// standards ask of them (a connection that says close is not used again, nor a session after GOAWAY) and have no retries.
// Twice a second one line of JSON: the tallies so far. Ends, without cutting anything off, when standard input does.
import { lookup } from 'node:dns/promises'
import http from 'node:http'
import grpc from '@grpc/grpc-js'
import { Http2Session } from './http2-client.ts'
import { Tally, type Tallies } from './tally.ts'

const reportMs = 500
const streamMessages = 10

const tallies: Tallies = {}
let ending = false

/** `width` loops of one request after the other. */
function load(
  name: string,
  width: number,
  ask: (body: string) => Promise<string>,
): Promise<unknown> {
  const tally = (tallies[name] = new Tally())
  const loop = async (index: number): Promise<void> => {
    for (let i = 0; !ending; i++) await tally.run(`${name} ${index} ${i}`, ask)
  }
  return Promise.all(Array.from({ length: width }, (_, index) => loop(index)))
}

function report(): void {
  console.log(JSON.stringify(tallies))
  for (const tally of Object.values(tallies)) tally.worstMs = 0
}

async function address(service: string): Promise<string> {
  const { address } = await lookup(`${service}.bench`, 4)
  return address
}

function askHttp1(host: string, path: string, agent: http.Agent | false) {
  return (body: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const request = http.request({ host, path, agent, method: 'POST' }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.on('error', reject)
        response.on('end', () => {
          resolve(response.statusCode === 200 ? text : `status ${response.statusCode}`)
        })
      })
      request.on('error', reject)
      request.end(body)
    })
}

/** A client of one session, and of the next one when that goes away. */
function askHttp2(host: string) {
  let session: Http2Session | undefined
  return (body: string): Promise<string> => {
    if (session === undefined || session.over)
      session = new Http2Session(host, 'http2.bench')
    return session.ask(body)
  }
}

const identity = (bytes: Buffer): Buffer => bytes

/** As users have it: no retry policy. What grpc-js has not sent when GOAWAY comes it sends on the next connection. */
function newGrpcClient(host: string): grpc.Client {
  const options = { 'grpc.use_local_subchannel_pool': 1 }
  return new grpc.Client(`${host}:80`, grpc.credentials.createInsecure(), options)
}

function askUnary(client: grpc.Client) {
  return (body: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, value?: Buffer): void => {
        if (error) reject(new Error(`${error.code} ${error.details}`))
        else resolve(String(value))
      }
      client.makeUnaryRequest(
        '/bench.Echo/Unary',
        identity,
        identity,
        Buffer.from(body),
        done,
      )
    })
}

/** A second of messages; all of them, in the end one status. */
function askStream(client: grpc.Client) {
  return async (body: string): Promise<string> => {
    const call = client.makeServerStreamRequest(
      '/bench.Echo/Stream',
      identity,
      identity,
      Buffer.from(body),
    )
    let count = 0
    for await (const message of call) if (String(message) === body) count++
    return count === streamMessages ? body : `${count} of ${streamMessages} messages`
  }
}

process.stdin.on('end', () => (ending = true)).resume()
const timer = setInterval(report, reportMs)
const [web, h2, calls] = [
  await address('http'),
  await address('http2'),
  await address('grpc'),
]
const kept = new http.Agent({ keepAlive: true })
const [session1, session2] = [askHttp2(h2), askHttp2(h2)]
const [unary, streams] = [newGrpcClient(calls), newGrpcClient(calls)]
await Promise.all([
  load('HTTP/1.1, kept connections', 8, askHttp1(web, '/', kept)),
  load('HTTP/1.1, new connections', 4, askHttp1(web, '/', false)),
  load('HTTP/1.1, slow answers', 8, askHttp1(web, '/slow', kept)),
  load('HTTP/2, session 1', 8, session1),
  load('HTTP/2, session 2', 8, session2),
  load('gRPC, unary', 16, askUnary(unary)),
  load('gRPC, streams', 16, askStream(streams)),
])
clearInterval(timer)
report()
kept.destroy()
process.exit(0)
