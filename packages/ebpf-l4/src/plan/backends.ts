// SPDX-License-Identifier: Apache-2.0
// Numbers of pl_backends: one for each (address, port, identity), shared by the services that use it. A number that was
// given back is used again only when all others were: a connect that runs in the kernel right now may still hold it.
import { Draft } from '@pillion/contract'
import { tableKey, type Table } from '../tables.ts'
import { following, type BackendNumber, type PlanState } from './state.ts'

function numberKey(number: number): string {
  const key = Buffer.alloc(4)
  key.writeUInt32LE(number)
  return tableKey(key)
}

export class BackendDraft {
  readonly #numbers: Draft<BackendNumber>
  readonly #table: Draft<Buffer>
  readonly #adopted: ReadonlyMap<string, number>
  #next: number

  constructor(state: PlanState) {
    this.#numbers = new Draft(state.backendNumbers)
    this.#table = new Draft(state.tables.pl_backends)
    this.#adopted = state.adopted.backends
    this.#next = state.nextBackend
  }

  /** Number of a backend (by its value) for one more service. Never 0. */
  acquire(value: string): number {
    const known = this.#numbers.get(value)
    const number = known?.number ?? this.#adopted.get(value) ?? this.#allocate()
    this.#numbers.set(value, { number, uses: (known?.uses ?? 0) + 1 })
    if (known === undefined) {
      this.#table.set(numberKey(number), Buffer.from(value, 'latin1'))
    }
    return number
  }

  /** Number of a backend that was acquired. */
  number(value: string): number {
    return this.#numbers.get(value)?.number ?? 0
  }

  /** One service less uses each of these. */
  release(values: readonly string[]): void {
    for (const value of values) {
      const known = this.#numbers.get(value)
      if (known === undefined) continue
      if (known.uses > 1) {
        this.#numbers.set(value, { ...known, uses: known.uses - 1 })
      } else {
        this.#numbers.delete(value)
        this.#table.delete(numberKey(known.number))
      }
    }
  }

  table(): Table {
    return this.#table.done()
  }

  state(): Pick<PlanState, 'backendNumbers' | 'nextBackend'> {
    return { backendNumbers: this.#numbers.done(), nextBackend: this.#next }
  }

  #allocate(): number {
    while (this.#table.get(numberKey(this.#next)) !== undefined) {
      this.#next = following(this.#next)
    }
    const number = this.#next
    this.#next = following(number)
    return number
  }
}
