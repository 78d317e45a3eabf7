// SPDX-License-Identifier: Apache-2.0
// A truth table: every pod asks for every pod, by address, by service address and by service name, and the answers are compared.
import type { Cluster, Pod } from './cluster.ts'
import type { Target } from './prober.ts'

/** May it? Undefined: not asked. */
export type Oracle = (
  from: Pod,
  to: Pod,
  protocol: 'TCP' | 'UDP',
  port: number,
) => boolean | undefined

export interface Result {
  /** Verdicts that were compared. */
  readonly verdicts: number
  /** Of these, denied. */
  readonly denied: number
  /** Questions by name that could not be asked: the pod may not ask the DNS server. */
  readonly unresolved: number
  /** "x/a -> y/b by name TCP/80: ., should be X" */
  readonly wrong: readonly string[]
}

type Way = 'address' | 'address6' | 'clusterIP' | 'host'

/** A policy that names IPv4 blocks says nothing about IPv6: what holds there is not in the tables that are compared with. */
export type Families = 'both' | 'IPv4'

function waysTo({ served }: Pod, families: Families): Way[] {
  const direct: Way[] = families === 'both' ? ['address', 'address6'] : ['address']
  return served ? [...direct, 'clusterIP', 'host'] : direct
}

const protocols = ['TCP', 'UDP'] as const

/** Asks everything at once. Loopback is left out, as Kubernetes' own tests do. */
export async function probe(
  cluster: Cluster,
  oracle: Oracle,
  families: Families = 'both',
): Promise<Result> {
  const result = { verdicts: 0, denied: 0, unresolved: 0, wrong: [] as string[] }
  await Promise.all(
    cluster.pods.map(async (from) => {
      const questions = cluster.pods
        .filter((to) => to !== from)
        .flatMap((to) =>
          waysTo(to, families).flatMap((way) =>
            protocols.flatMap((protocol) =>
              [80, 81].flatMap((port) => {
                const may = oracle(from, to, protocol, port)
                const target: Target = [protocol, to[way], port]
                return may === undefined ? [] : [{ to, way, target, may }]
              }),
            ),
          ),
        )
      const answers = await cluster.ask(
        from,
        questions.map(({ target }) => target),
      )
      questions.forEach(({ to, way, target: [protocol, , port], may }, i) => {
        const answer = answers[i] ?? 'no answer'
        if (way === 'host' && answer === '?') return result.unresolved++
        const wanted = may ? '.' : 'X'
        result.verdicts++
        if (!may) result.denied++
        if (answer === wanted) return
        const [src, dst] = [from, to].map(({ namespace, name }) => `${namespace}/${name}`)
        result.wrong.push(
          `${src} -> ${dst} by ${way} ${protocol}/${port}: ${answer}, should be ${wanted}`,
        )
      })
    }),
  )
  return result
}
