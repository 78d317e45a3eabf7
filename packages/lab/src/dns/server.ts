// SPDX-License-Identifier: Apache-2.0
// DNS over UDP and TCP (RFC 1035, 7766) for one zone.
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import packet, { type Answer, type Packet, type SoaAnswer } from 'dns-packet'
import { lookup, ttlSeconds, zoneName, type Zone } from './zone.ts'

/** A UDP answer without EDNS has at most this many bytes (RFC 1035, 2.3.4). */
const plainUdpBytes = 512
/** Idle TCP connections are closed (RFC 7766, 6.2.3). */
const tcpIdleMs = 10_000
const maxTcpConnections = 256

/** dns-packet's constant for the AA bit. */
const authoritative = packet.AUTHORITATIVE_ANSWER

/** Answer to a query, as a value. */
export function answer(zone: Zone, query: Packet): Packet {
  const [question] = query.questions ?? []
  const base: Packet = {
    type: 'response',
    id: query.id ?? 0,
    flags: authoritative | ((query.flags ?? 0) & packet.RECURSION_DESIRED),
    questions: question === undefined ? [] : [question],
  }
  if (question === undefined) return { ...base, flags: (base.flags ?? 0) | 1 } // FORMERR
  const { name, type } = question
  const found = lookup(zone, name, type)
  switch (found.kind) {
    case 'addresses':
      return { ...base, answers: addressAnswers(name, type, found.addresses) }
    case 'srv':
      return {
        ...base,
        answers: found.records.map(({ port, target }): Answer => ({
          name,
          type: 'SRV',
          ttl: ttlSeconds,
          data: { port, target, priority: 0, weight: 100 },
        })),
      }
    case 'alias': {
      const { target } = found
      const alias: Answer = { name, type: 'CNAME', ttl: ttlSeconds, data: target }
      // Resolvers do not ask again for a name of the same zone: the answer goes on with it (RFC 1034, 4.3.2).
      const rest = target.endsWith(`.${zoneName}`)
        ? lookup(zone, target, type)
        : undefined
      const records = rest?.kind === 'addresses' ? rest.addresses : []
      return { ...base, answers: [alias, ...addressAnswers(target, type, records)] }
    }
    case 'no-data':
      return { ...base, authorities: [soa] }
    case 'no-name':
      return { ...base, flags: (base.flags ?? 0) | 3, authorities: [soa] } // NXDOMAIN
  }
}

function addressAnswers(
  name: string,
  type: string,
  addresses: readonly string[],
): Answer[] {
  return addresses.map((data) => ({ name, type: type as 'A', ttl: ttlSeconds, data }))
}

/** Negative answers are cached for `minimum` seconds (RFC 2308). */
const soa: SoaAnswer = {
  name: zoneName,
  type: 'SOA',
  ttl: ttlSeconds,
  data: {
    mname: `ns.dns.${zoneName}`,
    rname: `hostmaster.${zoneName}`,
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: ttlSeconds,
  },
}

/** Bytes of the UDP answer: truncated, so that the client asks again over TCP, when it does not fit. */
export function udpAnswer(zone: Zone, message: Buffer): Buffer | undefined {
  const query = decode(message)
  if (query === undefined) return undefined
  const reply = answer(zone, query)
  const bytes = packet.encode(reply)
  const opt = query.additionals?.find((record) => record.type === 'OPT')
  const limit =
    opt === undefined ? plainUdpBytes : Math.max(plainUdpBytes, opt.udpPayloadSize)
  if (bytes.length <= limit) return bytes
  const { answers: _, ...rest } = reply
  return packet.encode({ ...rest, flags: (rest.flags ?? 0) | packet.TRUNCATED_RESPONSE })
}

function decode(message: Buffer): Packet | undefined {
  try {
    const query = packet.decode(message)
    return query.type === 'query' ? query : undefined
  } catch {
    return undefined // not DNS: no answer, as an answer could be reflected
  }
}

export interface DnsServer {
  readonly port: number
  close(): Promise<void>
}

/** Serves `zone()` on UDP (each address on its own socket, so that answers come from the address asked) and TCP. */
export async function serveDns(
  zone: () => Zone,
  port: number,
  addresses: readonly string[] = ['0.0.0.0', '::'],
): Promise<DnsServer> {
  const sockets: UdpSocket[] = []
  const servers: Server[] = []
  let bound = port
  for (const address of addresses) {
    const server = createServer({ allowHalfOpen: false }, (socket) =>
      serveTcp(zone, socket),
    )
    server.maxConnections = maxTcpConnections
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port: bound, host: address, ipv6Only: true }, resolve)
    })
    servers.push(server)
    const listening = server.address()
    if (typeof listening === 'object' && listening !== null) bound = listening.port
    sockets.push(await serveUdp(zone, address, bound))
  }
  return {
    port: bound,
    async close() {
      await Promise.all([
        ...sockets.map((socket) => new Promise<void>((resolve) => socket.close(resolve))),
        ...servers.map((server) => new Promise((resolve) => server.close(resolve))),
      ])
    },
  }
}

async function serveUdp(
  zone: () => Zone,
  address: string,
  port: number,
): Promise<UdpSocket> {
  const type = address.includes(':') ? 'udp6' : 'udp4'
  const socket = createSocket({ type, ipv6Only: type === 'udp6' })
  socket.on('message', (message, peer) => {
    const reply = udpAnswer(zone(), message)
    if (reply !== undefined) socket.send(reply, peer.port, peer.address)
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(port, address, resolve)
  })
  // ICMP errors of clients that went away are no reason to stop.
  socket.removeAllListeners('error').on('error', () => {})
  return socket
}

function serveTcp(zone: () => Zone, socket: Socket): void {
  let pending = Buffer.alloc(0)
  socket.setTimeout(tcpIdleMs, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk])
    // At most one message of 64 KiB is ever pending: complete ones are answered at once.
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const end = 2 + pending.readUInt16BE(0)
      const query = decode(pending.subarray(2, end))
      pending = pending.subarray(end)
      if (query === undefined) {
        socket.destroy()
        return
      }
      const reply = packet.encode(answer(zone(), query))
      const length = Buffer.alloc(2)
      length.writeUInt16BE(reply.length)
      socket.write(Buffer.concat([length, reply]))
    }
  })
}
