// SPDX-License-Identifier: Apache-2.0
// PURE: what conditions say of Services that are not as a reference wants them.
import type { Service } from './parents.ts'

/** "Service shop/web does not exist". */
export function missingService(name: string): string {
  return `Service ${name} does not exist`
}

/** "Service shop/web has no TCP port 81; it has 80 (http), 53/UDP". */
export function noPort(service: Service, wanted: number | string): string {
  const { namespace, name } = service.metadata
  const ports = service.spec.ports.map(({ port, name: called, protocol }) => {
    const label = called === undefined || called === '' ? '' : ` (${called})`
    return `${port}${protocol === 'TCP' ? '' : `/${protocol}`}${label}`
  })
  const lacks = `Service ${namespace}/${name} has no TCP port ${wanted}`.trimEnd()
  return `${lacks}; it has ${ports.length === 0 ? 'none' : ports.join(', ')}`
}
