// SPDX-License-Identifier: Apache-2.0
// Hedging as a function: the five kinds of answers of gRFC A6, and what must hold in any order of them.
import fc from 'fast-check'
import t from 'tap'
import { type HedgeState, stepAfter } from '../../src/filter/hedge.ts'
import type { TryOutcome } from '../../src/filter/retry.ts'
import type { HedgeRule } from '../../src/route/table.ts'

const rule: HedgeRule = {
  ...{ maxAttempts: 3, delayMs: 50 },
  ...{ codes: new Set([503]), grpcCodes: new Set([14]) },
}
const first: HedgeState = { sent: 1, running: 0, stopped: false, heldMs: 0 }
const grpc = (status: number, pushback?: number | 'never'): TryOutcome => ({
  ...{ kind: 'grpc', status, pushback },
})

t.test('non-fatal: the next goes out at once; fatal: it is the answer', async (t) => {
  t.strictSame(stepAfter(rule, first, grpc(14)), { kind: 'send', inMs: 0 })
  t.strictSame(stepAfter(rule, first, grpc(5)), { kind: 'answer' })
  const busy = { ...first, sent: 2, running: 1 }
  t.strictSame(stepAfter(rule, busy, grpc(5)), { kind: 'answer' }, 'whatever runs')
  t.strictSame(stepAfter(rule, busy, { kind: 'status', status: 503 }), {
    ...{ kind: 'send', inMs: 0 },
  })
  t.strictSame(stepAfter(rule, busy, { kind: 'status', status: 500 }), {
    kind: 'answer',
  })
  for (const kind of ['connect', 'refused', 'reset', 'timeout'] as const)
    t.strictSame(stepAfter(rule, first, { kind }), { kind: 'send', inMs: 0 }, kind)
})

t.test('the last one: its error is the answer, unless another runs', async (t) => {
  t.strictSame(stepAfter(rule, { ...first, sent: 3 }, grpc(14)), { kind: 'answer' })
  t.strictSame(stepAfter(rule, { ...first, sent: 3, running: 2 }, grpc(14)), {
    kind: 'wait',
  })
  t.strictSame(stepAfter(rule, { ...first, stopped: true }, grpc(14)), {
    kind: 'answer',
  })
})

t.test('pushback: exactly so long, or never', async (t) => {
  t.strictSame(stepAfter(rule, first, grpc(14, 300)), { kind: 'send', inMs: 300 })
  t.strictSame(stepAfter(rule, first, grpc(14, 'never')), { kind: 'answer' })
  t.strictSame(stepAfter(rule, { ...first, running: 1 }, grpc(14, 'never')), {
    kind: 'stop',
  })
  t.strictSame(
    stepAfter(rule, { ...first, running: 1, heldMs: 200 }, grpc(14)),
    { kind: 'send', inMs: 200 },
    'one server asked to wait: the failure of another does not make it sooner',
  )
})

t.test('what we refuse ourselves neither sends nor ends', async (t) => {
  const final: TryOutcome = { kind: 'final' }
  t.strictSame(stepAfter(rule, { ...first, running: 1 }, final), { kind: 'wait' })
  t.strictSame(stepAfter(rule, first, final), { kind: 'answer' })
})

const outcomes: fc.Arbitrary<TryOutcome> = fc.oneof(
  fc.record({ kind: fc.constantFrom('connect', 'refused', 'reset', 'timeout', 'final') }),
  fc.record({ kind: fc.constant('status'), status: fc.constantFrom(400, 500, 503) }),
  fc.record({
    kind: fc.constant('grpc'),
    status: fc.constantFrom(2, 5, 14),
    pushback: fc.constantFrom(undefined, 0, 40, 'never'),
  }),
) as fc.Arbitrary<TryOutcome>

t.test('in any order: one answer, never more than maxAttempts', async (t) => {
  const step = fc.record({ outcome: outcomes, tick: fc.integer({ min: 0, max: 3 }) })
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 5 }),
      fc.array(step, { minLength: 12, maxLength: 12 }),
      (maxAttempts, steps) => {
        const state = { ...first, running: 1 }
        let answers = 0
        for (const { outcome, tick } of steps) {
          // The delay has passed so often: more run at a time.
          for (let i = 0; i < tick && !state.stopped && state.sent < maxAttempts; i++) {
            state.sent++
            state.running++
          }
          state.running--
          const next = stepAfter({ ...rule, maxAttempts }, state, outcome)
          if (next.kind === 'answer') {
            answers++
            break
          }
          if (next.kind === 'stop') state.stopped = true
          if (next.kind === 'send') {
            if (state.stopped || next.inMs < state.heldMs) return false
            state.heldMs = next.inMs
            state.sent++
            state.running++
          }
          // Somebody always may still answer.
          if (state.running === 0 || state.sent > maxAttempts) return false
        }
        return answers === 1
      },
    ),
    { numRuns: 2000 },
  )
})
