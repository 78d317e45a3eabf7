// SPDX-License-Identifier: Apache-2.0
// The dependency rule, against what files really import and packages really declare.
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import {
  isImpureModule,
  moduleRules,
  packageRules,
  pureFiles,
  pureFolders,
} from '../../tools/import-rules.ts'
import { readText, repositoryFiles, sourceFiles } from './support/files.ts'

interface Import {
  readonly file: string
  readonly specifier: string
}

const typescriptFiles = sourceFiles.filter((path) => path.endsWith('.ts'))
const imports: readonly Import[] = typescriptFiles.flatMap((file) =>
  ts
    .preProcessFile(readText(file), true, true)
    .importedFiles.map(({ fileName }) => ({ file, specifier: fileName })),
)

/** Package that a path of the repository belongs to. */
const packageOf = (path: string): string | undefined =>
  path.startsWith('bench/') ? 'bench' : /^packages\/([^/]+)\//.exec(path)?.[1]

/** What may not be imported, as one line a violation; the reason is in the line. */
function violation({ file, specifier }: Import): string | undefined {
  const own = packageOf(file)
  const refuse = (reason: string): string => `${file} imports ${specifier}: ${reason}`
  if (specifier.startsWith('.')) {
    const path = normalize(join(dirname(file), specifier))
    const target = packageOf(path)
    // What stands in for the world outside is shared by the tests of all.
    if (file.includes('/test/') && path.startsWith('test/support/')) return undefined
    if (own !== undefined && target !== own)
      return refuse('another package is imported by its name')
    return undefined
  }
  const inside = /^@pillion\/([^/]+)(\/.+)?$/.exec(specifier)
  if (inside?.[1] !== undefined) return insideViolation(own, inside[1], inside[2], refuse)
  const rule = moduleRules.find(
    ({ module }) => specifier === module || specifier.startsWith(`${module}/`),
  )
  if (rule !== undefined && !rule.onlyIn.some((prefix) => file.startsWith(prefix)))
    return refuse(rule.because)
  if (
    (pureFolders.some((prefix) => file.startsWith(prefix)) || pureFiles.includes(file)) &&
    isImpureModule(specifier)
  ) {
    return refuse('a pure folder has no I/O, no clock, no logger')
  }
  return undefined
}

function insideViolation(
  own: string | undefined,
  target: string,
  below: string | undefined,
  refuse: (reason: string) => string,
): string | undefined {
  if (below !== undefined) return refuse('packages are imported through their index')
  if (own === undefined || own === target) return undefined
  const rule = packageRules[own]
  if (rule === undefined) return refuse(`tools/import-rules.ts has no rule for ${own}`)
  return rule.mayImport.includes(target) ? undefined : refuse(rule.because)
}

t.test('every import follows the dependency rule', async (t) => {
  t.ok(imports.length > 50, 'imports were found at all')
  t.same(
    imports.map(violation).filter((text) => text !== undefined),
    [],
  )
})

t.test('the rule refuses what it should', async (t) => {
  const refused: Import[] = [
    { file: 'packages/contract/src/x.ts', specifier: '@pillion/operator' },
    { file: 'packages/node-l7-proxy/src/x.ts', specifier: '@pillion/ebpf-l4' },
    {
      file: 'packages/node-agent/src/x.ts',
      specifier: '@pillion/contract/src/address.ts',
    },
    { file: 'packages/node-agent/src/x.ts', specifier: '../../operator/src/index.ts' },
    { file: 'packages/node-agent/src/x.ts', specifier: '@kubernetes/client-node' },
    { file: 'packages/node-l7-proxy/src/filter/x.ts', specifier: 'undici' },
    { file: 'packages/operator/src/compile/x.ts', specifier: 'node:fs' },
    { file: 'packages/operator/src/x.ts', specifier: '../../../test/support/x.ts' },
    { file: 'packages/unheard-of/src/x.ts', specifier: '@pillion/contract' },
  ]
  for (const edge of refused)
    t.type(violation(edge), 'string', `${edge.file} -> ${edge.specifier}`)
  const allowed: Import[] = [
    { file: 'packages/operator/src/x.ts', specifier: '@pillion/contract' },
    { file: 'packages/operator/test/x.ts', specifier: '../../../test/support/x.ts' },
  ]
  for (const edge of allowed) t.equal(violation(edge), undefined)
})

t.test('package.json declares no edge that the rule forbids', async (t) => {
  for (const path of repositoryFiles.filter((path) =>
    /^(packages\/[^/]+|bench)\/package\.json$/.test(path),
  )) {
    const own = packageOf(path) ?? ''
    const declared = JSON.parse(readText(path)) as Record<
      string,
      Record<string, string> | undefined
    >
    const names = Object.keys({
      ...declared['dependencies'],
      ...declared['devDependencies'],
    })
    const inside = names.flatMap((name) =>
      name.startsWith('@pillion/') ? [name.slice('@pillion/'.length)] : [],
    )
    t.same(
      inside.filter((name) => !packageRules[own]?.mayImport.includes(name)),
      [],
      path,
    )
    const versions = Object.values({
      ...declared['dependencies'],
      ...declared['devDependencies'],
    })
    t.same(
      versions.filter((version) => !/^(\d+\.\d+\.\d+|workspace:\*)$/.test(version)),
      [],
      `${path}: exact versions`,
    )
  }
})

t.test('native addons are loaded in one place of each package', async (t) => {
  const loaders = typescriptFiles.filter(
    (path) =>
      path.includes('/src/') &&
      /\bprocess\.dlopen\(|require\([^)]*\.node['"]\)/.test(readText(path)),
  )
  t.same(
    loaders.filter((path) => !path.endsWith('/src/native.ts')),
    [],
  )
})
