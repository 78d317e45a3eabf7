// SPDX-License-Identifier: Apache-2.0
// make demo: the mesh at work on the shop (examples/shop). Every step shows something and checks it; the exit code is 1
// when one did not happen. Nothing is left behind, whatever happens.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { colors } from '../packages/cli/src/colors.ts'

const root = join(import.meta.dirname, '..')
const pillionPath = join(root, 'bin/pillion')
const failures: string[] = []
const started = Date.now()

interface Result {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

function pillion(...args: string[]): Promise<Result> {
  const child = spawn(pillionPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (data) => (out += data))
  child.stderr.on('data', (data) => (err += data))
  return new Promise((resolve) =>
    child.on('close', (code) => resolve({ code, out: out.trim(), err: err.trim() })),
  )
}

/** In the pod `client` of the shop. */
const client = (...command: string[]): Promise<Result> =>
  pillion('lab', 'exec', '-n', 'shop', 'client', '--', ...command)

function step(title: string): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(0).padStart(3)
  console.log(`\n${colors.dim(`${seconds} s`)}  ${colors.bold(colors.cyan(title))}`)
}

function show(text: string): void {
  console.log(text.replaceAll(/^/gm, '       '))
}

/** What a step promises. A failure is shown here and decides the exit code at the end. */
function check(ok: boolean, promise: string): void {
  console.log(`       ${ok ? colors.green('✓') : colors.red('✗')} ${promise}`)
  if (!ok) failures.push(promise)
}

async function must(...args: string[]): Promise<string> {
  const { code, out, err } = await pillion(...args)
  if (code !== 0) throw new Error(`pillion ${args.join(' ')} failed: ${err}${out}`)
  return out
}

interface Speed {
  readonly requests: number
  readonly p50: string
  readonly p99: string
}

async function wrk(url: string, seconds: number): Promise<Speed> {
  const { out, err } = await client(
    'wrk',
    '-t1',
    '-c16',
    `-d${seconds}s`,
    '--latency',
    url,
  )
  const find = (pattern: RegExp): string => pattern.exec(out)?.[1] ?? ''
  const requests = Number(find(/Requests\/sec:\s+(\S+)/))
  if (!(requests > 0)) throw new Error(`wrk ${url}: ${out}${err}`)
  return { requests, p50: find(/50%\s+(\S+)/), p99: find(/99%\s+(\S+)/) }
}

interface Pods {
  items: { metadata: { name: string }; status: { podIPs: { ip: string }[] } }[]
}

async function podAddress(prefix: string): Promise<string> {
  const { items } = JSON.parse(
    await must('lab', 'get', 'pods', '-n', 'shop', '-o', 'json'),
  ) as Pods
  const pod = items.find(({ metadata }) => metadata.name.startsWith(prefix))
  const ip = pod?.status.podIPs[0]?.ip
  if (ip === undefined) throw new Error(`no pod ${prefix}*`)
  return ip
}

async function withoutMesh(): Promise<Speed> {
  step('Without the mesh first: the same pods, measured by pod address')
  await must('lab', 'up', join(root, 'examples/shop'), '--nodes', '2', '--mesh', 'off')
  const url = `http://${await podAddress('static-')}:8080/`
  await wrk(url, 1)
  const speed = await wrk(url, 3)
  show(`${Math.round(speed.requests)} requests/s`)
  return speed
}

async function meshOn(): Promise<void> {
  step('The mesh starts: no pod is touched')
  await must('lab', 'mesh', 'on')
  const { code, out } = await pillion('status')
  show(out)
  check(code === 0, 'every node acknowledged the configuration')
  const { services } = JSON.parse((await pillion('status', '-o', 'json')).out) as {
    services: { service: string; carriedBy: string }[]
  }
  const carriedBy = (name: string): string | undefined =>
    services.find(({ service }) => service.startsWith(`shop/${name}:`))?.carriedBy
  check(carriedBy('redis') === 'kernel', 'redis rides in the kernel')
  check(carriedBy('api') === 'proxy', 'api has L7: it is declared')
}

interface AccessLine {
  msg?: string
  attempts?: number
  status?: number
  traceId?: string
  path?: string
  endpoint?: string
}

/** Access log of the proxy on node-1. */
async function accessLog(): Promise<AccessLine[]> {
  const { out } = await pillion('lab', 'logs', 'node/node-1')
  return out.split('\n').flatMap((line) => {
    const json = line.slice(line.indexOf('{'))
    try {
      return [JSON.parse(json) as AccessLine]
    } catch {
      return [] // a line that is no JSON: a crash, or one cut by rotation
    }
  })
}

async function retries(): Promise<void> {
  step('api-v1 fails one request in five; the route says: retry 503')
  const script =
    'for i in $(seq 60); do curl -s -o /dev/null -w "%{http_code}\\n" http://api/retry; done | sort | uniq -c'
  const { out } = await client('sh', '-c', script)
  show(out)
  check(/^\s*60 200$/.test(out), 'the client saw 60 times 200')
  const lines = await accessLog()
  const retried = lines.find(
    (line) => line.path === '/retry' && (line.attempts ?? 0) > 1 && line.status === 200,
  )
  if (retried !== undefined) {
    show(`retried and succeeded: ${retried.attempts} attempts, trace ${retried.traceId}`)
  }
  check(
    retried?.traceId?.length === 32,
    'a retried request that succeeded, with its trace id',
  )
}

async function canary(): Promise<void> {
  step('Canary: the route gives api-v2 one request in ten')
  const script = 'for i in $(seq 200); do curl -s http://api/who; echo; done'
  const { out } = await client('sh', '-c', script)
  const share = (version: string): number => out.split(`"${version}"`).length - 1
  show(`v1 ${share('v1')}, v2 ${share('v2')} of 200`)
  // 200 draws at 0.1: 20 expected, four standard deviations are 17.
  check(share('v2') >= 3 && share('v2') <= 37, 'a split of about 90 to 10')
  const { out: canary } = await client(
    'curl',
    '-s',
    '-H',
    'x-canary: yes',
    'http://api/who',
  )
  check(canary.includes('"v2"'), 'a tester with the header x-canary reaches v2 at will')
}

async function denied(): Promise<void> {
  step('The client may not talk to Redis')
  const before = performance.now()
  const { out } = await client(
    'node',
    '-e',
    `
    const started = performance.now()
    require('node:net').connect(6379, 'redis')
      .on('connect', () => console.log('connected'))
      .on('error', (e) => console.log(e.code + ' after ' + (performance.now() - started).toFixed(1) + ' ms'))`,
  )
  show(
    `connect: ${out} (${Math.round(performance.now() - before)} ms with the start of node)`,
  )
  check(out.startsWith('EPERM'), 'refused at once by the kernel: EPERM, no time-out')
  const flows = await pillion('flows', '--node', 'node-1', '-o', 'json')
  const deny = flows.out
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { kind: string; rule?: string })
    .findLast((flow) => flow.kind === 'deny')
  show(`rule: ${deny?.rule ?? 'none'}`)
  check(
    /NetworkPolicy shop\//.test(deny?.rule ?? ''),
    'the flow names the rule that denied it',
  )
  show((await pillion('explain', 'shop/client', 'shop/redis:6379')).out)
}

async function speeds(noMesh: Speed): Promise<void> {
  step('What each path costs: nginx and wrk on one node, 16 connections')
  // The server made its socket before the programs were there; Auto accelerates what it has seen from the start.
  const pods = JSON.parse(
    await must('lab', 'get', 'pods', '-n', 'shop', '-o', 'json'),
  ) as Pods
  const old = pods.items.find(({ metadata }) => metadata.name.startsWith('static-'))
    ?.metadata.name
  await must('lab', 'delete', `pod/${old}`, '-n', 'shop')
  await until('the new static pod answers', async () => {
    const { out } = await client('curl', '-s', '-m', '1', 'http://static/')
    return out.startsWith('A hundred bytes')
  })
  await wrk('http://static/', 1)
  const kernel = await wrk('http://static/', 3)
  await wrk('http://static-l7/', 2)
  const proxy = await wrk('http://static-l7/', 3)
  const row = (name: string, speed: Speed): string =>
    `${name.padEnd(22)}${String(Math.round(speed.requests)).padStart(10)}${speed.p50.padStart(12)}${speed.p99.padStart(12)}` +
    `${(speed.requests / noMesh.requests).toFixed(2).padStart(8)} ×`
  show(
    `${'path'.padEnd(22)}${'requests/s'.padStart(10)}${'p50'.padStart(12)}${'p99'.padStart(12)}${''.padStart(10)}`,
  )
  show(row('no mesh', noMesh))
  show(row('kernel (gear 0)', kernel))
  show(row('L7 proxy (gear 3)', proxy))
  check(kernel.requests > noMesh.requests, 'the kernel path is faster than no mesh')
}

async function killProxy(): Promise<void> {
  step('kill -9 the proxy of node-1 while requests flow')
  const load = join(root, 'examples/shop/app/load.ts')
  const child = spawn(pillionPath, [
    'lab',
    'exec',
    '-n',
    'shop',
    'client',
    '--',
    'node',
    load,
    'http://static-l7/',
    '5',
  ])
  let out = ''
  child.stdout.on('data', (data) => (out += data))
  await until('the load runs', () => Promise.resolve(out.includes('ready')))
  await sleep(1500)
  const killed = await killByCommandLine(/node-l7-proxy\/src\/main\.ts --node node-1 /)
  await new Promise((resolve) => child.on('close', resolve))
  const result = JSON.parse(out.split('\n')[1] ?? '{}') as {
    ok: number
    errors: object
    maxGapMs: number
  }
  show(
    `${killed} processes killed; clients saw ${result.ok} answers, errors ${JSON.stringify(result.errors)}`,
  )
  show(
    `longest time without an answer: ${result.maxGapMs} ms (failure mode Bypass: the kernel balanced meanwhile)`,
  )
  check(killed > 0 && result.ok > 0, 'requests went on')
  check(result.maxGapMs <= 500, 'within 500 ms')
}

async function killByCommandLine(pattern: RegExp): Promise<number> {
  const { readdirSync, readFileSync } = await import('node:fs')
  let killed = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      if (pattern.test(line)) {
        process.kill(Number(pid), 'SIGKILL')
        killed++
      }
    } catch {
      // it ended by itself
    }
  }
  return killed
}

async function takeDown(): Promise<void> {
  step('Everything goes')
  const { code, out, err } = await pillion('lab', 'down')
  check(code === 0, `pillion lab down: ${err || out || 'nothing left behind'}`)
  const { out: spaces } = await new Promise<{ out: string }>((resolve) => {
    const child = spawn('ip', ['netns', 'list'])
    let out = ''
    child.stdout.on('data', (data) => (out += data))
    child.on('close', () => resolve({ out }))
  })
  check(!spaces.includes('pillion'), 'no namespace of the lab is left')
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`not within 15 s: ${what}`)
    await sleep(100)
  }
}

process.once('SIGINT', () => {
  void takeDown().then(() => process.exit(130))
})

try {
  const noMesh = await withoutMesh()
  await meshOn()
  await retries()
  await canary()
  await denied()
  await speeds(noMesh)
  await killProxy()
} catch (error) {
  failures.push((error as Error).message)
  console.log(`       ${colors.red('✗')} ${(error as Error).message}`)
} finally {
  await takeDown()
}
const seconds = Math.round((Date.now() - started) / 1000)
if (failures.length > 0) {
  console.log(
    `\n${colors.red(`${failures.length} things did not happen`)} (${seconds} s)`,
  )
  process.exitCode = 1
} else {
  console.log(`\n${colors.green('all of it happened')} (${seconds} s)`)
}
