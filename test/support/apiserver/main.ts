// SPDX-License-Identifier: Apache-2.0
// An API server by itself, for `pillion lab up --kubeconfig FILE`: make apiserver. Runs until it is interrupted.
import { rmSync, writeFileSync } from 'node:fs'
import { parse } from 'yaml'
import { serverSideApply } from '../../../packages/operator/test/support/apply.ts'
import { gatewayCrd, ownCrds } from '../../../packages/operator/test/support/cluster.ts'
import { apiServers } from './index.ts'

const file = process.argv[2]
if (file === undefined) {
  console.error('usage: node test/support/apiserver/main.ts KUBECONFIG')
  process.exit(2)
}
// The real one if there is one.
const available = apiServers().at(-1)
if (available === undefined) throw new Error('there is no API server')
const server = await available.start()
const kubeconfig = server.kubeconfig()
const apply = serverSideApply(kubeconfig, 'make-apiserver')
// What the operator reads, as `kubectl apply -k manifests/crd` and the Gateway API's own definitions would bring it.
for (const text of [...ownCrds(), gatewayCrd('HTTPRoute'), gatewayCrd('GRPCRoute')])
  await apply(parse(text) as object)
// 0600: who reads it is admin. Never over somebody's kubeconfig.
writeFileSync(file, kubeconfig, { mode: 0o600, flag: 'wx' })
console.log(`${server.name} at ${server.url}; kubeconfig: ${file}`)

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    rmSync(file, { force: true })
    void server.close().then(() => process.exit(0))
  })
}
