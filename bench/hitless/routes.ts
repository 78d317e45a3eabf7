// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const apiVersion = 'gateway.networking.k8s.io/v1'
const parentRefs = [{ group: '', kind: 'Service', name: 'http', port: 80 }]
const backendRefs = [{ name: 'http', port: 80 }]

const route = (name: string): object => ({
  apiVersion,
  kind: 'HTTPRoute',
  metadata: { name, namespace: 'bench' },
  spec: {
    parentRefs,
    rules: [{ matches: [{ path: { type: 'Exact', value: `/${name}` } }], backendRefs }],
  },
})

/** A file with `count` routes of the Service http, none of them for what is asked; the second value removes it. */
export function manyRoutes(count: number): [file: string, remove: () => void] {
  const directory = mkdtempSync(join(tmpdir(), 'pillion-routes-'))
  const file = join(directory, 'routes.yaml')
  const routes = Array.from({ length: count }, (_, i) =>
    JSON.stringify(route(`route-${i}`)),
  )
  writeFileSync(file, routes.join('\n---\n'))
  return [file, () => rmSync(directory, { recursive: true })]
}
