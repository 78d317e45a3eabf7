// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { CodeDirectory, maxFileBytes, maxFiles } from '../../src/extension/directory.ts'

const names = (urls: ReadonlyMap<string, string>): Record<string, string> =>
  Object.fromEntries([...urls].map(([name, url]) => [name, basename(url)]).sort())

t.test('code files by name; the same object until something changes', async (t) => {
  const path = t.testdir({
    ...{ 'a.ts': '1', 'b.mjs': '2', 'b.js': '3', 'c.mts': '4' },
    ...{ 'README.md': '5', 'd.json': '{}' },
  })
  const directory = new CodeDirectory(path)
  const first = await directory.read()
  t.strictSame(names(first.files), { a: 'a.ts', b: 'b.mjs', c: 'c.mts' })
  t.match(first.version, /^[0-9a-f]{12}$/)
  t.equal(await directory.read(), first)
  writeFileSync(join(path, 'README.md'), 'no code')
  t.equal(await directory.read(), first)
  writeFileSync(join(path, 'a.ts'), 'changed')
  const second = await directory.read()
  t.not(second.version, first.version)
  rmSync(join(path, 'a.ts'))
  symlinkSync('nowhere', join(path, 'd.ts'))
  t.strictSame(names((await directory.read()).files), { b: 'b.mjs', c: 'c.mts' })
})

t.test('a mounted ConfigMap: another directory behind ..data', async (t) => {
  const path = t.testdir({ '..1': { 'a.ts': 'one' }, '..2': { 'a.ts': 'one' } })
  symlinkSync('..1', join(path, '..data'))
  symlinkSync('..data/a.ts', join(path, 'a.ts'))
  const swap = (to: string): void => {
    symlinkSync(to, join(path, '..data_tmp'))
    renameSync(join(path, '..data_tmp'), join(path, '..data'))
  }
  const directory = new CodeDirectory(path)
  const first = await directory.read()
  swap('..2')
  t.equal(await directory.read(), first, 'same content, same version')
  mkdirSync(join(path, '..3'))
  writeFileSync(join(path, '..3', 'a.ts'), 'two')
  swap('..3')
  t.not((await directory.read()).version, first.version)
})

t.test('too much, or nothing, is an error', async (t) => {
  const many = Array.from({ length: maxFiles + 1 }, (_, i) => [`f${i}.ts`, ''])
  const path = t.testdir({
    many: Object.fromEntries(many) as Record<string, string>,
    large: { 'a.ts': ' '.repeat(maxFileBytes + 1) },
  })
  const read = async (name: string): Promise<unknown> =>
    new CodeDirectory(join(path, name)).read()
  await t.rejects(read('many'), /more than 64 files/)
  await t.rejects(read('large'), /at most 1048576/)
  await t.rejects(read('none'), { code: 'ENOENT' })
})
