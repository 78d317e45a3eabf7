// SPDX-License-Identifier: Apache-2.0
// Answers at once while a service is closed, but for who works on it; and says in every answer which route it took.
//
//   filters:
//     - name: maintenance
//       config: { closed: true, open: [ops], retryAfterSeconds: 600 }
import type { Filter } from '@pillion/filter'

type Config = {
  readonly closed: boolean
  /** Namespaces that get through. */
  readonly open?: readonly string[]
  readonly retryAfterSeconds?: number
}

export default {
  onRequest(_request, { config, source }) {
    const { closed, open = [], retryAfterSeconds = 60 } = config
    if (!closed || open.includes(source.namespace)) return undefined
    return {
      status: 503,
      headers: { 'retry-after': String(retryAfterSeconds) },
      body: 'closed for maintenance\n',
    }
  },

  onResponse(response, { route }) {
    if (route.name !== '')
      response.headers.set('x-route', `${route.namespace}/${route.name}`)
  },
} satisfies Filter<Config>
