// SPDX-License-Identifier: Apache-2.0
// A client, a server that says what arrives, and policies that forbid it: the ground of the bypass tests.
import { createInterface } from 'node:readline'
import { Direction, EventFlag, EventKind, type FlowEvent } from '../../src/index.ts'
import { Host, type Pod } from './host.ts'
import { compile } from './program.ts'

export const port = 8080

/** Which policy forbids: of the sender, or of the receiver. The rule is what denials report. */
export const policies = [
  { name: 'egress', rule: 7, direction: Direction.DIRECTION_EGRESS },
  { name: 'ingress', rule: 8, direction: Direction.DIRECTION_INGRESS },
] as const
export type Policy = (typeof policies)[number]

export class Ground {
  readonly host: Host
  readonly client: Pod
  readonly server: Pod
  /** What has arrived at the server, in order. */
  readonly #got: string[] = []

  private constructor(host: Host) {
    this.host = host
    this.client = host.pod('client')
    this.server = host.pod('server')
  }

  /** `directory` takes the compiled programs. */
  static async create(directory: string): Promise<Ground> {
    const host = await Host.create(['client', 'server'])
    const ground = new Ground(host)
    // Data in the SYN, without a cookie of an earlier connection: both ends agree to it.
    const sysctls = ['net.ipv4.tcp_fastopen=1543', 'net.ipv4.ping_group_range=0 0']
    for (const pod of [ground.client, ground.server]) {
      await host.run(pod, ['sysctl', '-qw', ...sysctls])
    }
    const sink = host.start(ground.server, [compile('sink', directory), String(port)])
    const { stdout } = sink
    if (stdout === null) throw new Error('no pipe')
    createInterface({ input: stdout }).on('line', (line) => ground.#got.push(line))
    await ground.arrives('ready')
    return ground
  }

  /** Waits until the server has got a text. */
  async arrives(text: string, limitMs = 3000): Promise<boolean> {
    const end = Date.now() + limitMs
    while (!this.#got.includes(text)) {
      if (Date.now() > end) return false
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return true
  }

  hasArrived(text: string): boolean {
    return this.#got.includes(text)
  }

  /** Nothing may leave the client, or nothing may enter the server. */
  forbid({ direction, rule }: Policy): void {
    const subject = direction === Direction.DIRECTION_EGRESS ? this.client : this.server
    this.host.policy({ subject, direction, isolated: true, rule })
    this.host.apply()
    this.host.datapath.readEvents(4096) // what came before is over
  }

  allow(): void {
    this.host.clearPolicy()
    this.host.apply()
  }

  /** The denial by this policy of something new, not of what is still open; throws when none is reported. */
  denial(policy: Policy): Promise<FlowEvent> {
    return this.#denied(policy, 0)
  }

  /** The denial of a connection that was open when the policy came. */
  cut(policy: Policy): Promise<FlowEvent> {
    return this.#denied(policy, EventFlag.EVENT_F_OPEN_CONNECTION)
  }

  #denied({ rule, direction }: Policy, flag: number): Promise<FlowEvent> {
    return this.host.event(
      (e) =>
        e.kind === EventKind.EVENT_DENY &&
        e.rule === rule &&
        e.direction === direction &&
        (e.flags & EventFlag.EVENT_F_OPEN_CONNECTION) === flag,
    )
  }
}

/** Where it was stopped: by the call of the process, on its way out, or where it arrived. */
export function hookOf(event: FlowEvent, word: string): 'call' | 'egress' | 'ingress' {
  if ((event.flags & EventFlag.EVENT_F_INGRESS) === 0) return 'call'
  return word === 'EPERM' ? 'egress' : 'ingress'
}
