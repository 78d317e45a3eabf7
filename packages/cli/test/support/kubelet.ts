// SPDX-License-Identifier: Apache-2.0
// A front before the API server stand-in, with what that leaves out: `exec` really runs the command, here; `log` is what a test
// says. Everything else is passed on.
import { spawn } from 'node:child_process'
import { createServer, request as forward } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { parse, stringify } from 'yaml'
import { Authority } from '../../../../test/support/apiserver/certificate.ts'
import type { StandIn } from '../../../../test/support/apiserver/index.ts'

export interface Kubelet {
  /** The stand-in's kubeconfig, with the front as its server. */
  readonly kubeconfig: string
  /** Logs by "pod" or "pod/container". */
  readonly logs: Map<string, string>
  /** Commands that were run, as "pod/container: command". */
  readonly execs: string[]
  /** Commands that have not ended. */
  readonly running: ReadonlySet<object>
  close(): Promise<void>
}

interface Config {
  clusters: { cluster: Record<string, unknown> }[]
}

/** Starts the front. The caller closes it, and the server after it. */
export async function startKubelet(server: StandIn): Promise<Kubelet> {
  const logs = new Map<string, string>()
  const execs: string[] = []
  const running = new Set<object>()
  const authority = new Authority()
  const front = createServer(authority.serverCertificate(), (req, res) => {
    const url = new URL(req.url ?? '/', 'http://front')
    const [, pod] = /\/pods\/([^/]+)\/log$/.exec(url.pathname) ?? []
    if (pod === undefined) return pass(server, req, res)
    const container = url.searchParams.get('container')
    const text = logs.get(container === null ? pod : `${pod}/${container}`)
    res.writeHead(text === undefined ? 404 : 200, { 'content-type': 'text/plain' })
    res.end(text ?? '{"message":"no log"}')
  })
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) =>
      [...offered].find((name) => name.startsWith('v5.')) ?? [...offered][0] ?? false,
  })
  front.on('upgrade', (req, socket, head) => {
    const url = new URL(req.url ?? '/', 'http://front')
    const [, pod = ''] = /\/pods\/([^/]+)\/exec$/.exec(url.pathname) ?? []
    const [file = '', ...args] = url.searchParams.getAll('command')
    sockets.handleUpgrade(req, socket, head, (ws) => {
      execs.push(`${pod}/${url.searchParams.get('container') ?? ''}: ${file}`)
      const send = (channel: number, data: Buffer): void =>
        ws.send(Buffer.concat([Buffer.from([channel]), data]))
      const status = (value: object): void => {
        send(3, Buffer.from(JSON.stringify(value)))
        ws.close()
      }
      // Node.js of the image is the one that runs the test.
      const child = spawn(file.endsWith('node') ? process.execPath : file, args)
      running.add(child)
      // As a runtime does: who asked and has gone closes the standard input, and nothing else.
      if (url.searchParams.get('stdin') === 'true')
        ws.on('close', () => child.stdin.end())
      else child.stdin.end()
      child.stdout.on('data', (data: Buffer) => send(1, data))
      child.stderr.on('data', (data: Buffer) => send(2, data))
      child.on('error', (error) => status({ status: 'Failure', message: error.message }))
      child.on('close', (code) => {
        running.delete(child)
        status(
          code === 0
            ? { status: 'Success' }
            : { status: 'Failure', message: `command terminated with exit code ${code}` },
        )
      })
    })
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  const { port } = front.address() as AddressInfo
  const config = parse(server.kubeconfig()) as Config
  for (const { cluster } of config.clusters) {
    cluster['server'] = `https://127.0.0.1:${port}`
    cluster['certificate-authority-data'] = Buffer.from(authority.cert).toString('base64')
  }
  return {
    kubeconfig: stringify(config),
    logs,
    execs,
    running,
    close: () =>
      new Promise((resolve) => {
        for (const client of sockets.clients) client.terminate()
        front.close(() => resolve())
        front.closeAllConnections()
      }),
  }
}

function pass(server: StandIn, req: IncomingMessage, res: ServerResponse): void {
  const onward = forward(
    `${server.url}${req.url ?? ''}`,
    { method: req.method, headers: req.headers, ca: server.ca },
    (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    },
  )
  onward.on('error', () => res.destroy())
  req.pipe(onward)
}
