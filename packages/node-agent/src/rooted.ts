// SPDX-License-Identifier: Apache-2.0
// Files of another process' file system, as that process would find them. Its owner may have put anything there.
import { constants } from 'node:fs'
import { open, readlink, type FileHandle } from 'node:fs/promises'
import { join, posix } from 'node:path'

/** As many links as the kernel follows (path_resolution(7)). */
const maxLinks = 40

const flags =
  constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW | constants.O_NOCTTY

/**
 * Opens the regular file that `path` names below `root` (/proc/PID/root; empty: ours). The kernel would follow an absolute link into our own
 * file system, so links are followed here; and a FIFO would hold a thread of the pool for ever, so nothing is waited for. Throws what
 * opening throws, and an Error for what is no regular file. A process that changes links meanwhile can have another file read, which
 * tells it nothing.
 */
export async function openIn(root: string, path: string): Promise<FileHandle> {
  const file = await open(join(root, await resolveIn(root, path)), flags)
  try {
    if ((await file.stat()).isFile()) return file
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  throw new Error(`${path} is no regular file`)
}

async function resolveIn(root: string, path: string): Promise<string> {
  let resolved = '/'
  let links = 0
  const rest = split(path)
  for (let name = rest.shift(); name !== undefined; name = rest.shift()) {
    // `..` of the root is the root.
    const next = posix.resolve(resolved, name)
    const target = await readlink(join(root, next)).catch(() => undefined)
    if (target === undefined || name === '..') {
      resolved = next
      continue
    }
    if (++links > maxLinks) throw new Error(`${path}: too many links`)
    if (posix.isAbsolute(target)) resolved = '/'
    rest.unshift(...split(target))
  }
  return resolved
}

const split = (path: string): string[] =>
  path.split('/').filter((name) => name !== '' && name !== '.')
