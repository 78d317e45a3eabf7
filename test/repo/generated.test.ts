// SPDX-License-Identifier: Apache-2.0
// Generated code is checked in; this is the gate that it still is what its source says. `make gen` repairs it.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readText, repositoryFiles, root } from './support/files.ts'

const generated = repositoryFiles.filter((path) => path.includes('/src/gen/'))

/** Runs a generator with `out` as its last argument and returns the repository's files that differ from those below it. */
function drift(
  command: readonly string[],
  out: string,
  files: readonly string[],
): string[] {
  const [program = '', ...args] = command
  execFileSync(program, [...args, out], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return files.filter((path) => {
    const fresh = join(out, path)
    return !existsSync(fresh) || readFileSync(fresh, 'utf8') !== readText(path)
  })
}

t.test('protobuf code is current', async (t) => {
  const files = generated.filter((path) => !path.endsWith('/layout.ts'))
  t.ok(files.length > 0)
  t.same(drift(['tools/gen-protobuf.sh'], t.testdir(), files), [])
})

t.test('struct layouts are current', async (t) => {
  const files = generated.filter((path) => path.endsWith('/layout.ts'))
  t.same(drift([process.execPath, 'tools/gen-layout.ts'], t.testdir(), files), [])
})

t.test('reference pages are current', async (t) => {
  const files = repositoryFiles.filter((path) => path === 'docs/options.md')
  t.same(files, ['docs/options.md'])
  t.same(drift([process.execPath, 'tools/gen-docs.ts'], t.testdir(), files), [])
})

t.test('CRDs and their reference page are current', async (t) => {
  const files = repositoryFiles.filter(
    (path) => path.startsWith('manifests/crd/') || path === 'docs/api.md',
  )
  // Three kinds, the kustomization, the page: a file that nothing generates any more differs as well.
  t.equal(files.length, 5)
  t.same(drift([process.execPath, 'tools/gen-crds.ts'], t.testdir(), files), [])
})
