// SPDX-License-Identifier: Apache-2.0
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ExeVerdict } from '@pillion/ebpf-l4'
import t from 'tap'
import { inspectElf } from '../src/elf.ts'
import { inspectExecutable, kernelDevice } from '../src/executables.ts'

async function inspect(path: string) {
  const file = await open(path)
  try {
    return await inspectElf(file)
  } finally {
    await file.close()
  }
}

/** The event of a process of ours that runs `path`. */
async function inspectRunning(t: Tap, path: string, args: string[]) {
  const child = spawn(path, args, { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  const { ino, dev } = statSync(path, { bigint: true })
  const comm = Buffer.alloc(16)
  comm.write(path.split('/').at(-1) ?? '')
  const event = { pid: child.pid ?? 0, exeInode: ino, exeDevice: kernelDevice(dev), comm }
  return inspectExecutable(event, '/proc')
}
type Tap = { teardown: (fn: () => unknown) => unknown }

const scratch = mkdtempSync(join(tmpdir(), 'pillion-elf-'))
t.teardown(() => {
  rmSync(scratch, { recursive: true })
})

function compile(name: string, source: string, ...flags: string[]): string {
  const path = join(scratch, name)
  execFileSync('cc', ['-x', 'c', '-', '-o', path, ...flags], { input: source })
  return path
}

t.test('real servers', async (t) => {
  t.match(await inspect('/usr/sbin/nginx'), { splices: false })
  t.match(await inspect('/usr/sbin/haproxy'), { splices: true, reason: 'imports splice' })
  t.match(await inspect(process.execPath), { splices: false })
})

t.test('static, and what is no ELF file, count as able', async (t) => {
  const path = compile('static', 'int main(void) { return 0; }', '-static')
  t.match(await inspect(path), { splices: true, reason: /static/ })
  const script = join(scratch, 'script')
  writeFileSync(script, '#!/bin/sh\n')
  t.match(await inspect(script), { splices: true, reason: /no 64-bit ELF/ })
})

t.test('a damaged file never throws and never counts as plain', async (t) => {
  const path = compile('whole', 'int main(void) { return 0; }')
  const file = await open(path)
  const whole = await file.readFile()
  await file.close()
  t.match(await inspect(path), { splices: false })
  for (const length of [0, 10, 64, whole.length >> 1, whole.length - 1]) {
    const cut = join(scratch, `cut-${length}`)
    writeFileSync(cut, whole.subarray(0, length))
    t.match(await inspect(cut), { splices: true }, `${length} bytes`)
  }
  const hostile = Buffer.from(whole)
  hostile.writeBigUInt64LE(0xffff_ffff_ffff_fff0n, 0x28)
  writeFileSync(join(scratch, 'hostile'), hostile)
  t.match(await inspect(join(scratch, 'hostile')), { splices: true })
})

t.test('a library that imports splice makes its users able', async (t) => {
  const flags = ['-shared', '-fPIC', '-D_GNU_SOURCE']
  const source = '#include <fcntl.h>\nint f(void) { return splice(0, 0, 1, 0, 1, 0); }'
  compile('libmover.so', source, ...flags)
  const path = compile(
    'mover',
    '#include <unistd.h>\nint f(void);\nint main(void) { pause(); return f(); }',
    ...[`-L${scratch}`, '-lmover', '-Wl,-rpath,$ORIGIN'],
  )
  t.match(await inspect(path), { splices: false }, 'not by itself')
  t.match(await inspectRunning(t, path, []), {
    verdict: ExeVerdict.EXE_UNFIT,
    reason: /libmover\.so: imports splice/,
  })
})

t.test('a running executable', async (t) => {
  const loop = ['-e', 'setInterval(() => undefined, 60_000)']
  const plain = await inspectRunning(t, process.execPath, loop)
  t.match(plain, { verdict: ExeVerdict.EXE_PLAIN })
  const blocking = await inspectRunning(t, '/usr/bin/sleep', ['60'])
  t.match(blocking, { verdict: ExeVerdict.EXE_UNFIT, reason: /may block in recv/ })
})

t.test('without the right to trace, the command line leads to the file', async (t) => {
  const { ino, dev } = statSync('/usr/sbin/nginx', { bigint: true })
  const comm = Buffer.alloc(16)
  comm.write('nginx')
  const gone = { pid: 0, exeInode: ino, exeDevice: kernelDevice(dev), comm }
  t.match(await inspectExecutable(gone, '/proc'), {
    verdict: ExeVerdict.EXE_PLAIN,
    path: /\/nginx$/,
  })
  t.match(
    await inspectExecutable({ ...gone, exeDevice: gone.exeDevice + 1 }, '/proc'),
    { verdict: ExeVerdict.EXE_UNFIT },
    'the same inode number elsewhere proves nothing',
  )
})

t.test('device numbers as the kernel has them', async (t) => {
  t.equal(kernelDevice(0x801n), (8 << 20) | 1)
  // glibc: minor 0x1_02 of major 0x103 is split around the major's low bits.
  t.equal(kernelDevice(0x1_0000_0302n & 0xf_ffffn), (3 << 20) | 2)
  t.equal(kernelDevice(0x10_0302n), (3 << 20) | 0x102)
})
