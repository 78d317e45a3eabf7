// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { ValidationError } from '../../src/api/object.ts'
import { DirectorySource } from '../../src/watch/directory.ts'

const namespace = (name: string): string =>
  `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`

async function start(t: Test, rescanMs = 60_000) {
  const dir = mkdtempSync(join(tmpdir(), 'pillion-dir-'))
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), text)
  }
  write('first.yaml', namespace('first'))
  write('status/x.yaml', namespace('never'))
  const source = new DirectorySource({
    dir,
    ignore: join(dir, 'status'),
    debounceMs: 2,
    rescanMs,
    maxFileBytes: 1000,
  })
  const names = new Set<string>()
  let errors: readonly ValidationError[] = []
  t.teardown(async () => {
    await source.close()
    rmSync(dir, { recursive: true })
  })
  await source.start((change) => {
    for (const { metadata } of change.upserts) names.add(metadata.name)
    for (const key of change.removals) names.delete(key.split('/')[2] ?? '')
    errors = change.errors
  })
  const until = async (want: readonly string[], wantErrors = 0): Promise<void> => {
    const deadline = Date.now() + 5000
    const got = (): string => `${[...names].sort().join()} ${errors.length}`
    while (got() !== `${want.join()} ${wantErrors}` && Date.now() < deadline)
      await sleep(2)
    t.equal(got(), `${want.join()} ${wantErrors}`)
  }
  return { dir, write, until }
}

t.test('files are found, changed, moved and removed, at any depth', async (t) => {
  const { dir, write, until } = await start(t)
  await until(['first'])
  write('a/b/c/deep.yaml', namespace('deep'))
  await until(['deep', 'first'])
  write('a/b/more.yml', namespace('more'))
  await until(['deep', 'first', 'more'])
  write('.hidden.yaml', namespace('hidden'))
  write('notes.txt', namespace('notes'))
  write('first.yaml', namespace('changed'))
  await until(['changed', 'deep', 'more'])
  renameSync(join(dir, 'a/b/more.yml'), join(dir, 'moved.json.yaml'))
  await until(['changed', 'deep', 'more'])
  rmSync(join(dir, 'a'), { recursive: true })
  await until(['changed', 'more'])
  write('a/b/again.yaml', namespace('again'))
  await until(['again', 'changed', 'more'])
})

t.test('a bad file blocks no other and keeps what it had', async (t) => {
  const { write, until } = await start(t)
  write('first.yaml', 'kind: [')
  await until(['first'], 1)
  write('second.yaml', namespace('second'))
  await until(['first', 'second'], 1)
  write('first.yaml', `${namespace('first')}#${'x'.repeat(1000)}`)
  await until(['first', 'second'], 1)
  write('first.yaml', namespace('first'))
  await until(['first', 'second'])
})

t.test('a directory that does not exist is an error that says what to do', async (t) => {
  const options = {
    dir: '/nonexistent-dir',
    debounceMs: 1,
    rescanMs: 1000,
    maxFileBytes: 1,
  }
  await t.rejects(
    new DirectorySource(options).start(() => undefined),
    {
      code: 'SOURCE',
      message: /nonexistent-dir: .*--dir must name a directory/,
    },
  )
})
