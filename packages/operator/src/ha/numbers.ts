// SPDX-License-Identifier: Apache-2.0
// Numbers of identities, ServicePorts and rules in a cluster: hashes of their keys under a secret of the cluster, equal in
// every replica and after every restart (docs/decisions/0010-numbers-without-a-leader.md).
import { createHmac, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { firstIdentity, identityEnd } from '@pillion/contract'
import type { Logger } from 'pino'
import type { Pools } from '../compile/compile.ts'
import { hashedPool, type Pool } from '../compile/pool.ts'
import { messageOf, OperatorError } from '../errors.ts'
import { ApiError, type ApiClient } from '../watch/client.ts'

/** Name of the Secret, in the operator's namespace. */
export const seedSecret = 'pillion-numbers'

/** Numbers end here: datapaths put one bit beside those of services. */
const numbersEnd = 2 ** 31

const seedBytes = 32

/** Pools whose numbers follow from `seed`. Who does not know it cannot make labels that meet another's number. */
export function seededPools(seed: Buffer): Pools {
  const pool = (domain: string, first: number, end: number): Pool =>
    hashedPool((key, round) => {
      const digest = createHmac('sha256', seed)
        .update(`${domain} ${round} ${key}`)
        .digest()
      return first + Number(digest.readBigUInt64BE() % BigInt(end - first))
    })
  return {
    identities: pool('identity', firstIdentity, identityEnd),
    servicePorts: pool('servicePort', 1, numbersEnd),
    rules: pool('rule', 1, numbersEnd),
  }
}

/**
 * The cluster's seed; the first replica ever makes it. Waits for an API server that does not answer; throws an OperatorError
 * `STATE` when it refuses, or when the Secret is not one of ours.
 */
export async function loadSeed(
  client: ApiClient,
  namespace: string,
  log: Logger,
): Promise<Buffer> {
  for (let failures = 0; ; failures++) {
    try {
      return seedOf(await readOrCreate(client, namespace))
    } catch (error) {
      const isPassing =
        error instanceof ApiError &&
        (error.status === 0 ||
          error.status === 409 ||
          error.status === 429 ||
          error.status >= 500)
      if (!isPassing) {
        const message = `Secret ${namespace}/${seedSecret}: ${messageOf(error)}`
        throw new OperatorError('STATE', message, { cause: error })
      }
      log.warn({ error: messageOf(error) }, 'API server does not answer yet')
      await sleep(Math.random() * Math.min(10_000, 200 * 2 ** Math.min(failures, 10)))
    }
  }
}

interface Secret {
  readonly data?: Readonly<Record<string, string>>
}

async function readOrCreate(client: ApiClient, namespace: string): Promise<Secret> {
  const path = `/api/v1/namespaces/${namespace}/secrets`
  try {
    return await client.request<Secret>({ path: `${path}/${seedSecret}` })
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error
  }
  // Of two replicas one gets 409 here, and reads what the other made.
  return client.request<Secret>({
    method: 'POST',
    path,
    body: {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: seedSecret, namespace },
      // Another seed would number every pod anew while nodes hold the old numbers.
      immutable: true,
      data: { seed: randomBytes(seedBytes).toString('base64') },
    },
  })
}

function seedOf({ data }: Secret): Buffer {
  const seed = Buffer.from(data?.['seed'] ?? '', 'base64')
  if (seed.length === seedBytes) return seed
  throw new TypeError(
    `data.seed has ${seed.length} bytes, not ${seedBytes}; delete the Secret to number everything anew`,
  )
}
