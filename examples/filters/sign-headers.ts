// SPDX-License-Identifier: Apache-2.0
// Signs every request (RFC 9421, HTTP Message Signatures, hmac-sha256), so that a service outside of the mesh can tell what came
// through it and who asked. The key is the file `key` (default "sign-key") of the Secret that Mesh spec.filters names.
//
//   filters:
//     - name: sign-headers
//       config: { keyid: shop-2026, headers: [x-request-id, x-source] }
import { createHmac } from 'node:crypto'
import type { Filter, FilterHeaders, RequestLine } from '@pillion/filter'

type Config = {
  /** What the verifier finds the key by. */
  readonly keyid: string
  readonly key?: string
  /** Fields that are signed beside method, authority, path and query, where the request has them. */
  readonly headers?: readonly string[]
}

/** A string of RFC 8941 3.3.3. */
const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`

/** Value of a component (RFC 9421 2.1 and 2.2). */
function component(name: string, request: RequestLine, headers: FilterHeaders): string {
  const question = request.path.indexOf('?')
  const end = question < 0 ? request.path.length : question
  if (name === '@method') return request.method
  if (name === '@authority') return request.authority.toLowerCase()
  if (name === '@path') return request.path.slice(0, end)
  if (name === '@query') return request.path.slice(end) || '?'
  return headers
    .getAll(name)
    .map((value) => value.trim())
    .join(', ')
}

export default {
  onRequest(request, { config, source, secret }) {
    const {
      keyid,
      key = 'sign-key',
      headers: wanted = ['x-request-id', 'x-source'],
    } = config
    const { headers } = request
    headers.set('x-source', `${source.namespace}/${source.serviceAccount}`)
    const names = [
      ...['@method', '@authority', '@path', '@query'],
      ...wanted.filter((name) => headers.has(name)).map((name) => name.toLowerCase()),
    ]
    const created = Math.floor(Date.now() / 1000)
    const parameters = `(${names.map(quoted).join(' ')});created=${created};keyid=${quoted(keyid)};alg="hmac-sha256"`
    const base = [
      ...names.map((name) => `${quoted(name)}: ${component(name, request, headers)}`),
      `"@signature-params": ${parameters}`,
    ].join('\n')
    const signature = createHmac('sha256', secret(key)).update(base).digest('base64')
    headers.set('signature-input', `pillion=${parameters}`)
    headers.set('signature', `pillion=:${signature}:`)
  },
} satisfies Filter<Config>
