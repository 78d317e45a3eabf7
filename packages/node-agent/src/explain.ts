// SPDX-License-Identifier: Apache-2.0
// PURE. What the kernel would do with a connection, and why: the same tables, the same evaluation, in words.
import {
  FailureMode,
  formatAddress,
  formatEndpoint,
  isMappedIPv4,
  judgedBit,
  L7Protocol,
  l7ProtocolToJSON,
  Protocol,
  ReservedIdentity,
  type Endpoint,
  type Resources,
  type ServicePort,
  type Workload,
} from '@pillion/contract'
import type { PolicyTables } from '@pillion/ebpf-l4'
import { chooseEndpoints, findService, type Asked } from './destinations.ts'
import { AgentError } from './errors.ts'
import { addressKey, Names } from './names.ts'
import { hasPrefix, parsed, splitPort, tryParse } from './peers.ts'
import { type Target, Verdicts } from './verdicts.ts'

export interface Explanation {
  readonly verdict: 'allow' | 'deny'
  /** Which gear carries it, when allowed. */
  readonly gear: 0 | 3
  readonly steps: readonly Step[]
  /** Text of the rule that decided, if one did. */
  readonly rule?: string
  /** Denied by default deny: the rule that almost allowed it, and in what the connection differs. */
  readonly nearest?: string
  /** Allowed, but this rule of a policy in Shadow mode would deny it. */
  readonly shadow?: string
  /** Identity of the source. */
  readonly source: number
  /** Who may answer, once each. */
  readonly targets: readonly Target[]
}

export interface Step {
  readonly what: string
  readonly result: string
}

export interface ExplainInput {
  readonly node: string
  readonly resources: Resources
  readonly tables: PolicyTables
  /** False: stale heartbeat, draining, or none at all. */
  readonly proxyServes: boolean
  readonly acceleration: 'off' | 'on' | 'auto'
  /** Uids of pods whose identity is in the kernel. */
  readonly admitted: ReadonlySet<string>
  /** Identities that the proxy connects to with judgedBit, as rules for requests there are about the source. */
  readonly judged: ReadonlySet<number>
}

/** `from` is namespace/pod or an address; `to` namespace/service, namespace/pod or an address, with :port. */
export function explain(input: ExplainInput, from: string, to: string): Explanation {
  return new Explainer(input).explain(from, to)
}

/** One place where the connection may end. */
interface Destination extends Target {
  readonly address: Buffer
}

interface Source {
  readonly identity: number
  readonly workload: Workload | undefined
}

class Explainer {
  readonly #input: ExplainInput
  readonly #names: Names
  readonly #steps: Step[] = []
  #from = 0
  #targets: Target[] = []

  constructor(input: ExplainInput) {
    this.#input = input
    this.#names = new Names(input.resources)
  }

  explain(from: string, to: string): Explanation {
    const source = this.#source(from)
    this.#from = source.identity
    const { host, port } = splitPort(to)
    const asked = findService(this.#input.resources, host, port)
    if (asked === undefined) {
      const destination = this.#plainDestination(host, port)
      return this.#kernelPath(source, [destination], Protocol.TCP)
    }
    return this.#toService(source, asked)
  }

  #add(what: string, result: string): void {
    this.#steps.push({ what, result })
  }

  #source(from: string): Source {
    const workload = this.#workload(from)
    if (workload === undefined) {
      const identity = this.#identityAt(parsed(from, 'pod of this node or address'))
      this.#add('source', `${from}: ${this.#names.identity(identity)}`)
      return { identity, workload: undefined }
    }
    const admitted = this.#input.admitted.has(workload.uid)
    const identity = admitted ? workload.identity : ReservedIdentity.unmanaged
    const note = admitted
      ? ''
      : '; its cgroup is not known to the kernel yet, so it is unmanaged'
    this.#add(
      'source',
      `${workload.namespace}/${workload.name}: ${this.#names.identity(identity)}${note}`,
    )
    return { identity, workload }
  }

  #workload(name: string): Workload | undefined {
    const { workload } = this.#input.resources
    const byName = workload.get(name)
    if (byName !== undefined) return byName
    const address = tryParse(name)
    if (address === undefined) return undefined
    return [...workload.values()].find(
      ({ addresses, hostNetwork }) =>
        !hostNetwork && addresses.some((a) => a.equals(address)),
    )
  }

  #plainDestination(host: string, port: number | undefined): Destination {
    const address = tryParse(host) ?? this.#podAddress(host)
    if (port === undefined) {
      throw new AgentError(
        'QUESTION',
        `${host} is no service: say which port, ${host}:PORT`,
      )
    }
    this.#add('destination', `${formatEndpoint(address, port)}: no service address`)
    return { address, port, identity: this.#identityAt(address) }
  }

  #podAddress(name: string): Buffer {
    const { workload, address } = this.#input.resources
    const local = workload.get(name)?.addresses[0]
    if (local !== undefined) return local
    const remote = [...address.values()].find(({ owner }) => owner === name)
    if (remote !== undefined) return remote.address
    throw new AgentError('QUESTION', `there is no service or pod ${name}`)
  }

  #identityAt(address: Buffer): number {
    let best = { prefixLength: -1, identity: ReservedIdentity.world as number }
    for (const entry of this.#input.resources.address.values()) {
      if (entry.prefixLength <= best.prefixLength) continue
      if (hasPrefix(address, entry.address, entry.prefixLength)) best = entry
    }
    return best.identity
  }

  #toService(source: Source, asked: Asked): Explanation {
    const { service } = asked
    this.#add('service', serviceText(asked))
    const { resources, node } = this.#input
    const { candidates, total, locality } = chooseEndpoints(resources, node, asked)
    const declared =
      service.l7Protocol !== L7Protocol.UNSPECIFIED && service.protocol === Protocol.TCP
    if (!declared) this.#add('L7', 'not declared: carried by the kernel')
    const l7 = declared && this.#proxyPath(service)
    if (l7 === 'refused') return this.#explanation('deny', 3)
    if (locality !== undefined) this.#add('locality', locality)
    const { affinitySeconds } = service
    if (affinitySeconds > 0 && candidates.length > 1) {
      const result = `ClientIP: a client keeps its endpoint until it was silent for ${affinitySeconds} s`
      this.#add('affinity', result)
    }
    const list = candidates.map((e) => this.#endpointText(e, candidates)).join(', ')
    this.#add(
      'endpoints',
      `${candidates.length} of ${total} in use${list && `: ${list}`}`,
    )
    if (candidates.length === 0) {
      this.#add(
        'connect',
        l7 === 'proxy' ? 'the proxy answers 503' : 'refused at once: ECONNREFUSED',
      )
      return this.#explanation('deny', l7 === 'proxy' ? 3 : 0)
    }
    return this.#judge(source, candidates, service.protocol, l7 === 'proxy' ? 3 : 0)
  }

  /** Says where a declared service goes now. */
  #proxyPath({ l7Protocol, failureMode }: ServicePort): 'proxy' | 'bypass' | 'refused' {
    const protocol = l7ProtocolToJSON(l7Protocol).replace('L7_PROTOCOL_', '')
    if (this.#input.proxyServes) {
      this.#add('L7', `declared ${protocol}: carried by the proxy, which is serving`)
      return 'proxy'
    }
    const reject = failureMode === FailureMode.REJECT
    const mode = reject
      ? 'Reject: ECONNREFUSED at once'
      : 'Bypass: balanced by the kernel meanwhile'
    this.#add('L7', `declared ${protocol}; the proxy is away, failure mode ${mode}`)
    return reject ? 'refused' : 'bypass'
  }

  #endpointText(
    { address, port, pod, node, weight, terminating }: Endpoint,
    all: readonly Endpoint[],
  ): string {
    const own = all.filter((e) => isMappedIPv4(e.address) === isMappedIPv4(address))
    const sum = own.reduce((total, e) => total + Math.max(1, e.weight), 0)
    const share = Math.round((Math.max(1, weight) / sum) * 1000) / 10
    const state = terminating ? ', terminating' : ''
    return `${formatEndpoint(address, port)} (${pod} on ${node}, ${share} %${state})`
  }

  #kernelPath(
    source: Source,
    destinations: Destination[],
    protocol: number,
  ): Explanation {
    return this.#judge(source, destinations, protocol, 0)
  }

  /** Policy for every identity that may answer; denied when all are. */
  #judge(
    source: Source,
    destinations: readonly Destination[],
    protocol: number,
    gear: 0 | 3,
  ): Explanation {
    const byIdentity = Map.groupBy(destinations, (d) => `${d.identity} ${d.port}`)
    this.#targets = [...byIdentity.values()].flatMap((group) => group.slice(0, 1))
    const verdicts = new Verdicts(this.#input.tables, this.#names, (what, result) =>
      this.#add(what, result),
    )
    const judgements = this.#targets.map((target) => {
      const isJudged = gear === 3 && this.#input.judged.has(target.identity)
      const { identity } = source
      return verdicts.of(isJudged ? identity + judgedBit : identity, target, protocol)
    })
    const allowed = judgements.find((judgement) => judgement.allowed)
    const decisive = allowed ?? judgements[0]
    if (allowed !== undefined && gear === 0) this.#accelerationStep(source, destinations)
    const rule = decisive && this.#names.rule(decisive.ruleId)
    return {
      ...this.#explanation(allowed === undefined ? 'deny' : 'allow', gear),
      ...(rule === undefined ? {} : { rule }),
      ...(decisive?.nearest === undefined ? {} : { nearest: decisive.nearest }),
      ...(decisive?.shadow === undefined ? {} : { shadow: decisive.shadow }),
    }
  }

  #explanation(verdict: 'allow' | 'deny', gear: 0 | 3): Explanation {
    const targets = this.#targets.map(({ identity, port }) => ({ identity, port }))
    return { verdict, gear, steps: this.#steps, source: this.#from, targets }
  }

  #accelerationStep(source: Source, destinations: readonly Destination[]): void {
    const { acceleration, node, resources } = this.#input
    const local = new Set(
      [...resources.address.values()]
        .filter((address) => address.node === node)
        .map(({ address }) => addressKey(address)),
    )
    const near = destinations.filter(({ address }) =>
      local.has(addressKey(address)),
    ).length
    const settings = {
      off: 'off in the Mesh, unless a pod asks for it',
      on: 'on in the Mesh, unless a pod refuses',
      auto: 'auto: where both executables are known not to splice(2)',
    }[acceleration]
    const text =
      source.workload === undefined || near === 0
        ? 'no: both ends must be on this node'
        : `${near} of ${destinations.length} destinations on this node; ${settings}`
    this.#add('acceleration', text)
  }
}

/** Which service, and by what it was met. */
function serviceText({ service, by, address }: Asked): string {
  const name = `${service.namespace}/${service.service}:${service.port}`
  const at = address === undefined ? '' : formatAddress(address)
  if (by === 'external') return `${name} (external address ${at})`
  if (by === 'node-port') return `${name} (node port ${service.nodePort} at ${at})`
  return `${name} (${service.addresses.map(formatAddress).join(', ') || 'headless'})`
}
