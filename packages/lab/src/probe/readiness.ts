// SPDX-License-Identifier: Apache-2.0
// The readiness of one container: a loop over its probe, with the kubelet's thresholds.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Probe } from '../types.ts'
import type { Result } from './check.ts'

/**
 * While a container is not ready it is asked this often at least, whatever periodSeconds says: the kubelet's ten
 * seconds would make every start of a lab that slow.
 */
const maxStartPeriodMs = 200

export interface ReadinessOptions {
  readonly probe: Probe
  readonly check: (timeoutMs: number) => Promise<Result>
  /** Called on each change, and with the latest reason while not ready. */
  readonly onResult: (ready: boolean, message: string) => void
}

/** Runs until the signal aborts. */
export async function watchReadiness(
  options: ReadinessOptions,
  signal: AbortSignal,
): Promise<void> {
  const { probe, check, onResult } = options
  const periodMs = (probe.periodSeconds ?? 10) * 1000
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000
  let ready = false
  let streak = 0
  try {
    await sleep((probe.initialDelaySeconds ?? 0) * 1000, undefined, { signal })
    for (;;) {
      const { ok, message } = await check(timeoutMs)
      if (signal.aborted) return
      streak = ok === ready ? 0 : streak + 1
      const threshold = ready
        ? (probe.failureThreshold ?? 3)
        : (probe.successThreshold ?? 1)
      if (streak >= threshold) {
        ready = ok
        streak = 0
      }
      onResult(ready, ok ? '' : message)
      await sleep(ready ? periodMs : Math.min(periodMs, maxStartPeriodMs), undefined, {
        signal,
      })
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
