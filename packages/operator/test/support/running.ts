// SPDX-License-Identifier: Apache-2.0
// A whole operator on a temporary directory, and subscribers as agents and proxies are.
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  emptyResources,
  subscribe,
  type Changes,
  type Resources,
  type Role,
  type Subscription,
} from '@pillion/contract'
import pino from 'pino'
import type { Test } from 'tap'
import { startOperator, type Operator } from '../../src/operator.ts'
import { parseOptions } from '../../src/options.ts'

export async function until(
  what: string,
  done: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`)
    await sleep(5)
  }
}

export interface Subscriber {
  readonly subscription: Subscription
  /** Names that each update changed, by kind. */
  readonly updates: Record<string, string[]>[]
  refuse: ((resources: Resources) => string | undefined) | undefined
  resources(): Resources
}

export class Fixture {
  readonly dir = mkdtempSync(join(tmpdir(), 'pillion-operator-'))
  readonly address = `unix:${this.dir}/operator.sock`
  readonly #t: Test
  #operator: Operator | undefined

  constructor(t: Test) {
    this.#t = t
    mkdirSync(join(this.dir, 'objects'))
    t.teardown(async () => {
      await this.#operator?.close()
      rmSync(this.dir, { recursive: true })
    })
  }

  /** Writes as the lab does: whole, by rename. */
  write(file: string, text: string): void {
    writeFileSync(join(this.dir, 'tmp'), text)
    renameSync(join(this.dir, 'tmp'), join(this.dir, 'objects', file))
  }

  remove(file: string): void {
    rmSync(join(this.dir, 'objects', file))
  }

  async start(): Promise<void> {
    const argv = [
      ...[
        '--source',
        'directory',
        '--dir',
        `${this.dir}/objects`,
        '--status-dir',
        `${this.dir}/status`,
      ],
      ...['--listen', this.address, '--admin-socket', `${this.dir}/admin.sock`],
      ...['--nack-retry', '60000', '--status-delay', '5'],
    ]
    this.#operator = await startOperator(
      parseOptions(argv, {}),
      pino({ level: 'silent' }),
    )
  }

  async stop(): Promise<void> {
    await this.#operator?.close()
    this.#operator = undefined
  }

  subscribe(node: string, role: Role): Subscriber {
    let resources = emptyResources()
    const updates: Record<string, string[]>[] = []
    const subscriber: Subscriber = {
      updates,
      refuse: undefined,
      resources: () => resources,
      subscription: subscribe({
        address: this.address,
        node,
        role,
        backoffMinMs: 5,
        backoffMaxMs: 50,
        onUpdate: (next: Resources, changes: Changes) => {
          const reason = subscriber.refuse?.(next)
          if (reason !== undefined) throw new Error(reason)
          resources = next
          updates.push(
            Object.fromEntries([...changes].map(([kind, names]) => [kind, [...names]])),
          )
        },
      }),
    }
    this.#t.teardown(() => subscriber.subscription.close())
    return subscriber
  }

  async get(path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      request({ socketPath: `${this.dir}/admin.sock`, path }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (part: string) => (body += part))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      })
        .on('error', reject)
        .end()
    })
  }

  /** Waits until /debug/status satisfies `done`, and returns it. */
  async status<T>(what: string, done: (status: T) => boolean): Promise<T> {
    let last: T | undefined
    await until(what, async () => {
      last = JSON.parse((await this.get('/debug/status')).body) as T
      return done(last)
    })
    return last as T
  }

  statusFile(path: string): string {
    return readFileSync(join(this.dir, 'status', path), 'utf8')
  }
}
