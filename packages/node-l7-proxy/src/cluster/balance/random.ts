// SPDX-License-Identifier: Apache-2.0
import { type Balancer, withoutTried } from './balancer.ts'
import { isUniform } from './weights.ts'

/** Any, in proportion to weight. */
export const anyEndpoint: Balancer = (ready, random, avoid) => {
  const endpoints = withoutTried(ready, avoid)
  if (isUniform(endpoints)) return endpoints[Math.floor(random() * endpoints.length)]
  let left = random() * endpoints.reduce((sum, { weight }) => sum + weight, 0)
  for (const endpoint of endpoints) {
    left -= endpoint.weight
    if (left < 0) return endpoint
  }
  return endpoints.at(-1)
}
