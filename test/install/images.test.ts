// SPDX-License-Identifier: Apache-2.0
// Dockerfiles, read without a container engine: what they start from, what they copy, as whom they run.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  nodeBinary,
  probeBinary,
  proxyUid,
} from '../../packages/operator/src/install/names.ts'

const root = join(import.meta.dirname, '../..')
const images = { operator: '15020', agent: '0', proxy: String(proxyUid) }

interface Instruction {
  readonly name: string
  readonly rest: string
}

/** Instructions with continued lines joined; comments are none. */
function instructions(text: string): Instruction[] {
  return text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? []
      return { name, rest: rest.replaceAll(/\s+/g, ' ') }
    })
}

for (const [image, uid] of Object.entries(images)) {
  t.test(image, async (t) => {
    const all = instructions(
      readFileSync(join(root, `images/${image}/Dockerfile`), 'utf8'),
    )
    const known = ['FROM', 'RUN', 'WORKDIR', 'COPY', 'ENV', 'USER', 'ENTRYPOINT']
    t.strictSame(
      all.filter(({ name }) => !known.includes(name)),
      [],
      'ADD, which fetches URLs, is none of them',
    )
    const from = all.filter(({ name }) => name === 'FROM').map(({ rest }) => rest)
    t.equal(from.length, 2, 'what builds is not what runs')
    for (const base of from.slice(0, -1))
      t.match(base, /^[a-z/]+:\d+\.\d+\.\d+-\w/, 'pinned')
    t.equal(from.at(-1), 'scratch', 'no shell, no package manager')

    const last = all.slice(all.findLastIndex(({ name }) => name === 'FROM'))
    const user = last.filter(({ name }) => name === 'USER').map(({ rest }) => rest)
    t.strictSame(user, [`${uid}:${uid}`])
    const [entry] = last.filter(({ name }) => name === 'ENTRYPOINT')
    const [binary, main = ''] = JSON.parse(entry?.rest ?? '[]') as string[]
    t.equal(binary, nodeBinary, 'where probes look for it')
    t.ok(existsSync(join(root, main.replace(/^\/app\//, ''))), main)

    const copied = all
      .filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from='))
      .flatMap(({ rest }) => rest.split(' ').slice(0, -1))
    t.ok(copied.length > 3)
    t.strictSame(
      copied.filter((path) => !existsSync(join(root, path))),
      [],
    )
    const ignored = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n')
    const sent = copied.filter(
      (path) => !ignored.includes(`!${path.split('/')[0] ?? ''}`),
    )
    t.strictSame(sent, [], '.dockerignore lets them through')
    const scripts = all
      .filter(({ name }) => name === 'RUN')
      .flatMap(({ rest }) => /^(images\/\S+) (\S+)/.exec(rest)?.slice(1) ?? [])
    t.ok(existsSync(join(root, 'packages', scripts[1] ?? '-')), scripts.join(' '))
  })
}

t.test('the version of Node.js and pnpm are those of the repository', async (t) => {
  const { engines, packageManager } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as { engines: { node: string }; packageManager: string }
  for (const image of Object.keys(images)) {
    const text = readFileSync(join(root, `images/${image}/Dockerfile`), 'utf8')
    t.match(text, `npm install --global ${packageManager}`)
    t.match(text, `FROM node:${/\d+\.\d+/.exec(engines.node)?.[0] ?? ''}.`)
  }
})

t.test("the operator's probe asks a socket", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-probe-'))
  const probe = join(dir, 'probe')
  const socket = join(dir, 's.sock')
  const dockerfile = readFileSync(join(root, 'images/operator/Dockerfile'), 'utf8')
  const [, options = ''] =
    /RUN gcc (.*) -o \/rootfs\/usr\/local\/bin\/probe /.exec(dockerfile) ?? []
  execFileSync('cc', [...options.split(' '), '-o', probe, join(root, 'images/probe.c')])
  let code = 200
  const server = createServer(({ url }, response) => {
    if (url === '/readyz') response.writeHead(code).end('some text')
    else response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  t.teardown(() => {
    server.close()
    rmSync(dir, { recursive: true })
  })
  const ask = (...args: string[]): Promise<number | null> => {
    const child = spawn(probe, args, { stdio: 'ignore' })
    return new Promise((resolve) => child.once('exit', resolve))
  }
  t.equal(await ask(socket, '/readyz'), 0)
  t.equal(await ask(socket, '/other'), 1)
  code = 503
  t.equal(await ask(socket, '/readyz'), 1)
  t.equal(await ask(`${socket}.none`, '/readyz'), 1)
  t.equal(await ask(socket), 2)
  t.equal(await ask('x'.repeat(200), '/readyz'), 2)

  const manifest = readFileSync(join(root, 'manifests/default/operator.yaml'), 'utf8')
  const commands = [...manifest.matchAll(/command: \[(\S+), (\S+), (\S+)\]/g)]
  const admin = /--admin-socket=(\S+)/.exec(manifest)?.[1]
  t.strictSame(
    commands.map(([, ...command]) => command),
    ['/healthz', '/healthz', '/readyz'].map((path) => [probeBinary, admin, path]),
  )
})

t.test('without an engine, make images says so', async (t) => {
  const { status, stderr } = spawnSync('/bin/sh', [join(root, 'images/make.sh')], {
    encoding: 'utf8',
    env: { PATH: '/bin-without-engines:/usr/bin:/bin', DOCKER_HOST: 'unix:///nowhere' },
  })
  // A machine with a working podman or buildah in /usr/bin would build.
  const hasEngine = ['podman', 'buildah'].some((name) => existsSync(`/usr/bin/${name}`))
  if (hasEngine) return
  t.equal(status, 1)
  t.match(stderr, /no container engine works here; install and start docker/)
})

t.test('shell scripts parse', async (t) => {
  for (const script of ['build.sh', 'make.sh'])
    t.equal(spawnSync('/bin/sh', ['-n', join(root, 'images', script)]).status, 0, script)
})
