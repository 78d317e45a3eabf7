// SPDX-License-Identifier: Apache-2.0
// Shows log files, and follows them.
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { lab } from '../client.ts'

const followMs = 200
const chunkBytes = 64 * 1024

/** Prints the logs of a pod or node; with `follow` until interrupted. */
export async function showLogs(
  target: string,
  namespace: string,
  follow: boolean,
): Promise<void> {
  const query = new URLSearchParams({ target, namespace })
  const { files } = await lab<{ files: string[] }>('GET', `/log?${query.toString()}`)
  const present = files.filter((file) => existsSync(file))
  const readers = present.map((file) => new Reader(file))
  try {
    for (const reader of readers) {
      if (files.length > 1) process.stdout.write(`==> ${basename(reader.file)} <==\n`)
      reader.print()
    }
    while (follow) {
      await sleep(followMs)
      for (const reader of readers) reader.print()
    }
  } finally {
    for (const reader of readers) reader.close()
  }
}

/** Prints what was added to a file since the last time. */
class Reader {
  readonly file: string
  readonly #fd: number
  readonly #buffer = Buffer.alloc(chunkBytes)
  #offset = 0

  constructor(file: string) {
    this.file = file
    this.#fd = openSync(file, 'r')
  }

  print(): void {
    if (fstatSync(this.#fd).size < this.#offset) this.#offset = 0 // rotated
    for (;;) {
      const count = readSync(this.#fd, this.#buffer, 0, chunkBytes, this.#offset)
      if (count === 0) return
      this.#offset += count
      process.stdout.write(Buffer.from(this.#buffer.subarray(0, count)))
    }
  }

  close(): void {
    closeSync(this.#fd)
  }
}
