// SPDX-License-Identifier: Apache-2.0
// Programs on their hooks: pinned links that outlive us, replaced atomically by a new build.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Attachment } from './attach.ts'
import { cgroupId } from './cgroup.ts'
import { BpfError } from './errors.ts'
import { native } from './native.ts'
import type { Handle, ProgramInfo } from './native.ts'

export interface LinksOptions {
  /** Directory of the pinned links, on a bpf file system. */
  readonly directory: string
  /** cgroup v2 directory of all pods and processes of the node. */
  readonly cgroupRoot: string
  /** cgroup v2 directory of the proxy: only there do the socket options exist. */
  readonly proxyCgroup: string
  /** Loaded objects by name, those of `attachments` all. */
  readonly objects: ReadonlyMap<string, Handle<'object'>>
  /** Descriptor of pl_sockhash. */
  readonly sockhashFd: number
}

export class Links {
  readonly #options: LinksOptions

  constructor(options: LinksOptions) {
    this.#options = options
  }

  /** Puts a program on its hook; a link whose program is this one already stays. Throws BpfError. */
  attach(attachment: Attachment): void {
    try {
      if (attachment.target === 'sockhash') {
        const { sockhashFd } = this.#options
        native.progAttach(this.#programFd(attachment), sockhashFd, attachment.type)
      } else {
        this.#attachToCgroup(attachment)
      }
    } catch (cause) {
      throw attachError(attachment, cause)
    }
  }

  /** Takes a program off its hook. */
  detach({ program }: Attachment): void {
    rmSync(join(this.#options.directory, program), { force: true })
  }

  /** Why a program is not effective on its hook; empty: it is, or it is on the sockhash, which nobody can ask. */
  verify(attachment: Attachment): string[] {
    if (attachment.target === 'sockhash') return []
    try {
      const directory = native.openDirectory(this.#cgroupOf(attachment))
      try {
        const { ids } = native.progQuery(directory, attachment.type, 1)
        return ids.includes(this.info(attachment).id)
          ? []
          : [`${attachment.program} is not effective on ${this.#cgroupOf(attachment)}`]
      } finally {
        native.closeFd(directory)
      }
    } catch (error) {
      return [`${attachment.program}: ${(error as Error).message}`]
    }
  }

  info(attachment: Attachment): ProgramInfo {
    return native.progInfo(this.#programFd(attachment))
  }

  /** Replaces the program of a pinned link, atomically; a link whose cgroup is gone or another is made anew. */
  #attachToCgroup(attachment: Attachment): void {
    const path = join(this.#options.directory, attachment.program)
    const cgroup = this.#cgroupOf(attachment)
    const pinned = native.getPinned(path)
    if (pinned >= 0) {
      try {
        if (BigInt(native.linkInfo(pinned).cgroupId) === cgroupId(cgroup)) {
          native.linkUpdate(pinned, this.#programFd(attachment))
          return
        }
      } finally {
        native.closeFd(pinned)
      }
      rmSync(path)
    }
    const directory = native.openDirectory(cgroup)
    try {
      const link = native.linkCreate(
        this.#programFd(attachment),
        directory,
        attachment.type,
      )
      native.pin(link, path)
      native.closeFd(link)
    } finally {
      native.closeFd(directory)
    }
  }

  #cgroupOf({ target }: Attachment): string {
    return target === 'proxy' ? this.#options.proxyCgroup : this.#options.cgroupRoot
  }

  #programFd({ object: name, program }: Attachment): number {
    const object = this.#options.objects.get(name)
    if (object === undefined) throw new BpfError('SYSTEM', `no object ${name}`)
    return native.objectProgramFd(object, program)
  }
}

/** The kernel has one errno for two reasons, and the second is not in our hands. */
function attachError({ program, target }: Attachment, cause: unknown): BpfError {
  const operation = `attach ${program}`
  if (target === 'sockhash' || (cause as { errno?: number }).errno !== 1)
    return BpfError.from(operation, cause)
  const message = `${operation}: not permitted; a capability is missing, or another program is on this hook for itself alone: pillion check says which`
  return new BpfError('NOT_PERMITTED', message, { cause })
}
