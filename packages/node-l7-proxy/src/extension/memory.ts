// SPDX-License-Identifier: Apache-2.0
// How much memory a thread has. V8's own limit of a thread is not enough: it ends the whole process when a large allocation does not
// fit below it, as that of a map that grows. So it is set out of the way, and this looks often enough; V8 is interrupted for it, so a
// thread in a loop is seen as well.
import type { Worker } from 'node:worker_threads'

/** V8's limit, MiB: who takes this much between two looks ends the process. */
export const hardLimitMb = 2048
const lookMs = 100
/** Looks at too much in a row that are too many: what is seen first may be garbage. */
const maxLooks = 10
/** Times the limit that are too much at once: a loop is never asked to collect. */
const maxTimes = 8

/**
 * Watches heap and buffers of `worker`: `collect` is called when they exceed `maxBytes`, `tooMuch`, once, when they still do a second
 * later or have grown to eight times that. What is returned ends the watch.
 */
export function watchMemory(
  worker: Worker,
  maxBytes: number,
  collect: () => void,
  tooMuch: (bytes: number) => void,
): () => void {
  let timer: NodeJS.Timeout | undefined
  let over = false
  let looks = 0
  const stop = (): void => {
    over = true
    clearTimeout(timer)
  }
  const judge = (bytes: number): void => {
    looks = bytes > maxBytes ? looks + 1 : 0
    if (looks >= maxLooks || bytes > maxTimes * maxBytes) {
      stop()
      tooMuch(bytes)
      return
    }
    if (looks === 1) collect()
    again()
  }
  const look = (): void => {
    worker.getHeapStatistics().then(
      ({ used_heap_size: heap, external_memory: buffers }) => {
        if (!over) judge(heap + buffers)
      },
      again, // it does not run yet
    )
  }
  const again = (): void => {
    if (!over) timer = setTimeout(look, lookMs).unref()
  }
  again()
  return stop
}
