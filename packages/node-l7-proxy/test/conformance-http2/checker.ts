// SPDX-License-Identifier: Apache-2.0
// Runs a public HTTP/2 conformance checker, given by its path, against the proxy's HTTP/2 listener: with endpoints of
// HTTP/1.1 and of HTTP/2 behind it. `checker.ts PATH [ARGUMENT...]`; the checker must know h2spec's options -h, -p and -o.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http2 from 'node:http2'
import { L7Protocol } from '@pillion/contract'
import { httpBackend, listen } from '../support/http.ts'
import { startProxy } from '../support/proxy.ts'
import { endpoint, rule, service, table } from '../support/resources.ts'

/** Longer than one frame's windows in the checks, so that an answer does wait for them. */
const answer = Buffer.alloc(64, 'x')

async function check(path: string, more: readonly string[]): Promise<number> {
  const http1Backend = await httpBackend((request, response) => {
    request.resume().on('end', () => response.end(answer))
  })
  const http2Backend = await listen(
    http2.createServer((request, response) => {
      request.resume().on('end', () => response.end(answer))
    }),
  )
  const proxy = await startProxy([
    service(1, 'web', L7Protocol.HTTP),
    endpoint(1, 'web', http1Backend.port),
    service(2, 'h2-to-http1', L7Protocol.HTTP2),
    table(2, 'h2-to-http1', { hasRoutes: true, rules: [rule('/', { web: 1 })] }),
    service(3, 'h2-to-h2', L7Protocol.HTTP2),
    endpoint(3, 'h2-to-h2', http2Backend.port),
  ])
  let failed = 0
  for (const [serviceId, title] of [
    [2, 'HTTP/2 to HTTP/1.1'],
    [3, 'HTTP/2 to HTTP/2'],
  ] as const) {
    process.stdout.write(`\n${title}\n\n`)
    const where = ['-h', `127.0.0.${serviceId}`, '-p', String(proxy.port), '-o', '2']
    const child = spawn(path, [...where, ...more], { stdio: 'inherit' })
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) failed = 1
  }
  const crashes = await proxy.metric('pillion_worker_crashes_total')
  if (crashes > 0) {
    process.stdout.write(`${crashes} workers crashed\n${proxy.log.join('\n')}\n`)
    failed = 1
  }
  await proxy.stop()
  await Promise.all([http1Backend.close(), http2Backend.close()])
  return failed
}

const [path, ...more] = process.argv.slice(2)
if (path === undefined || path === '') {
  process.stderr.write('usage: checker.ts PATH [ARGUMENT...]: the path of h2spec\n')
  process.exitCode = 2
} else process.exitCode = await check(path, more)
