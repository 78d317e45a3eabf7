// SPDX-License-Identifier: Apache-2.0
// One emulated machine, from boot to the end of its command.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { initramfs } from './initramfs.ts'
import type { Unpacked } from './packages.ts'

export interface Run {
  /** What the command wrote to the second serial port, /dev/ttyS1. */
  readonly said: string
  /** The end of the console. */
  readonly console: string
  readonly timedOut: boolean
}

const memoryMiB = 2048
const consoleBytes = 4000

/**
 * No KVM: every machine can do it. The machine's files are there to be read; nothing of the guest stays. Rejects when qemu cannot be
 * started, or `signal` ends it.
 */
export async function boot(
  kernel: Unpacked,
  command: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Run> {
  const directory = mkdtempSync(join(tmpdir(), 'pillion-kernel-'))
  try {
    writeFileSync(join(directory, 'initrd'), initramfs(kernel, command))
    const timedOut = await emulate(kernel, directory, timeoutMs, signal)
    const read = (name: string): string => readFileSync(join(directory, name), 'utf8')
    return { said: read('said'), console: read('console').slice(-consoleBytes), timedOut }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function emulate(
  { image }: Unpacked,
  directory: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const share =
    'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      // Without protection keys, by which V8 guards its code: emulated, that ended a process once.
      ...[
        '-machine',
        'q35',
        '-accel',
        'tcg,thread=multi',
        '-cpu',
        'max,pku=off',
        '-smp',
        '2',
      ],
      ...['-m', String(memoryMiB), '-nodefaults', '-no-user-config', '-display', 'none'],
      // A panic is a reboot, and a reboot is the end.
      ...['-no-reboot', '-append', 'console=ttyS0 panic=-1 quiet'],
      ...['-kernel', image, '-initrd', join(directory, 'initrd')],
      ...['-serial', `file:${join(directory, 'console')}`],
      ...['-serial', `file:${join(directory, 'said')}`],
      ...['-virtfs', share],
    ],
    { stdio: ['ignore', 'inherit', 'inherit'], signal, killSignal: 'SIGKILL' },
  )
  return new Promise((resolve, reject) => {
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      qemu.kill('SIGKILL')
    }, timeoutMs)
    qemu.once('error', reject)
    qemu.once('close', () => {
      clearTimeout(timer)
      resolve(timedOut)
    })
  })
}
