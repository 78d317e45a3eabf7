// SPDX-License-Identifier: Apache-2.0

/** A monotonic clock that all threads of the process share, which performance.now() is not: each thread has an origin of its own. */
export function sharedMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
