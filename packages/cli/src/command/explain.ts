// SPDX-License-Identifier: Apache-2.0
// pillion explain FROM TO[:PORT]: what the kernel would do with this connection, and why.
import { LabError, type KubeObject, type PodObject } from '@pillion/lab'
import type { Command } from 'commander'
import colors from 'picocolors'
import { agent, lab, meshStatus } from '../client.ts'
import { mark, print, printJson, table } from '../output.ts'
import { canonical, findPodObject, parsePeer } from '../peers.ts'

/** The agent's GET /debug/explain. */
interface Explanation {
  readonly verdict: 'allow' | 'deny'
  readonly gear: number
  readonly steps: readonly { what: string; result: string }[]
  readonly rule?: string
}

export function explainCommand(program: Command): void {
  program
    .command('explain')
    .argument('<from>', 'namespace/pod, or the beginning of a pod name, or a pod address')
    .argument('<to>', 'namespace/service, namespace/pod or address; with :PORT')
    .option('-o, --output <format>', 'table or json', 'table')
    .description('what happens to a connection, and why')
    .action(explain)
}

async function explain(
  from: string,
  to: string,
  { output }: { output: 'table' | 'json' },
): Promise<void> {
  await meshStatus()
  const pods = await lab<PodObject[]>('GET', '/objects?kind=Pod')
  const services = await lab<KubeObject[]>('GET', '/objects?kind=Service')
  const pod = findPodObject(pods, from)
  if (pod === undefined) throw new LabError('not-found', `there is no pod ${from}`)
  const query = new URLSearchParams({
    from: `${pod.metadata.namespace ?? ''}/${pod.metadata.name}`,
    to: canonical(parsePeer(to), services, pods),
  })
  const node = pod.spec.nodeName ?? ''
  const explanation = await agent<Explanation>(node, `/debug/explain?${query.toString()}`)
  if (output === 'json') {
    printJson({ node, from: query.get('from'), to: query.get('to'), ...explanation })
    return
  }
  print(
    table(
      ['STEP', 'RESULT'],
      explanation.steps.map(({ what, result }) => [what, result]),
    ),
  )
  const how =
    explanation.gear === 0
      ? 'in the kernel (gear 0)'
      : `by the proxy (gear ${explanation.gear})`
  const verdict =
    explanation.verdict === 'allow'
      ? `allowed, carried ${how}`
      : 'denied at connect (EPERM)'
  print(`\n${mark(verdict, explanation.verdict === 'allow')}`)
  if (explanation.rule !== undefined) print(colors.dim(`rule: ${explanation.rule}`))
}
