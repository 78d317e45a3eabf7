// SPDX-License-Identifier: Apache-2.0
// The smallest root that can mount the machine's own over 9p: busybox, a few modules, a script.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { Unpacked } from './packages.ts'

const busybox = '/usr/bin/busybox'
/** What reaches the machine's files, and a file system above them that can be written. */
const wanted = ['virtio_pci', '9pnet_virtio', '9p', 'overlay']

/** Boots into `command`, which sees the machine's root with a writable layer in memory. */
export function initramfs(kernel: Unpacked, command: readonly string[]): Buffer {
  const modules = moduleFiles(kernel)
  const names = modules.map((path, i) => `${100 + i}-${basename(path, '.xz')}`)
  const directories = ['bin', 'modules', 'proc', 'dev', 'lower', 'upper', 'new']
  return Buffer.concat([
    ...directories.map((name) => entry(name, 0o40755)),
    entry('bin/busybox', 0o100755, readFileSync(busybox)),
    ...names.map((name, i) => entry(`modules/${name}`, 0o100644, moduleAt(modules[i]))),
    entry('init', 0o100755, Buffer.from(script(kernel, command))),
    entry('TRAILER!!!', 0),
  ])
}

/** In the order of loading. Some are built in, depending on the kernel. */
function moduleFiles({ base, release }: Unpacked): string[] {
  const lines = wanted.flatMap((name) => {
    try {
      const args = ['-d', base, '-S', release, '--show-depends', name]
      return execFileSync('/usr/sbin/modprobe', args, {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).split('\n')
    } catch {
      return [] // no such module: it is built in, or the mount will fail and say so
    }
  })
  const paths = lines.flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? [])
  return [...new Set(paths)]
}

function moduleAt(path = ''): Buffer {
  if (!path.endsWith('.xz')) return readFileSync(path)
  return execFileSync('xz', ['-dc', path], { maxBuffer: 1 << 26 })
}

function script({ base }: Unpacked, command: readonly string[]): string {
  const quoted = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
  return `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module"; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /lower
$b mount -t tmpfs tmpfs /upper
$b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new
for fs in proc sysfs:sys devtmpfs:dev tmpfs:run; do $b mount -t "\${fs%:*}" none "/new/\${fs#*:}"; done
$b mkdir -p /new/lib/modules
$b mount --bind '/lower${base}/lib/modules' /new/lib/modules
exec $b switch_root /new ${quoted}
`
}

/** One file of a cpio archive in the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst). */
function entry(name: string, mode: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const fields = [0, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0]
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
  return Buffer.concat([padded(Buffer.from(`${head}${name}\0`)), padded(data)])
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)])
}
