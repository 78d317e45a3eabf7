// SPDX-License-Identifier: Apache-2.0
// Few rules, each there for a class of bugs of a data plane, with type information; every ban says what to use instead.
import tseslint from 'typescript-eslint'
import {
  moduleRules,
  packageRules,
  pureFiles,
  pureFolders,
} from './tools/import-rules.ts'

/**
 * Options of no-restricted-imports for the files below `path`: rules do not merge between blocks, so each block lists
 * all. A module allowed somewhere below `path` passes here; test/repo/imports.test.ts is exact.
 */
function restricted(path, pure = false) {
  const own = path.startsWith('bench/') ? 'bench' : path.split('/')[1]
  const rule = packageRules[own]
  const patterns = [
    {
      regex: '^@pillion/[^/]+/.',
      message: 'Import packages through their index: @pillion/<package>.',
    },
    {
      regex: '^\\.{1,2}/.*(?<!\\.ts|\\.json|\\.node)$',
      message: 'Write the extension: ./file.ts.',
    },
  ]
  for (const other of Object.keys(packageRules)) {
    if (rule === undefined || other === own || rule.mayImport.includes(other)) continue
    patterns.push({
      regex: `^@pillion/${other}$`,
      message: `${own} must not import ${other}: ${rule.because}.`,
    })
  }
  for (const { module, onlyIn, because } of moduleRules) {
    if (onlyIn.some((prefix) => prefix.startsWith(path) || path.startsWith(prefix)))
      continue
    patterns.push({
      regex: `^${module}$`,
      message: `Only in ${onlyIn.join(', ')}: ${because}.`,
    })
  }
  if (pure) {
    const message =
      'A pure folder has no I/O and no logger: pass the value in, return what should happen.'
    patterns.push({ regex: '^(node:.*|pino|prom-client)$', message })
  }
  return ['error', { patterns }]
}

const globals = [
  {
    name: 'fetch',
    message: 'Its pool and time-outs are not ours: use node:http or the upstream pool.',
  },
]
const clockGlobals = [
  'setTimeout',
  'setInterval',
  'setImmediate',
  'Date',
  'performance',
  'crypto',
  'process',
].map((name) => ({
  name,
  message: 'A pure folder has no clock, no randomness, no process: pass the value in.',
}))

const packages = Object.keys(packageRules).map((name) =>
  name === 'bench' ? 'bench/' : `packages/${name}/`,
)

export default tseslint.config(
  {
    ignores: [
      '**/node_modules/',
      '**/src/gen/',
      '.tools/',
      '.cache/',
      '**/.output/',
      '**/.build/',
      'bench/results/',
    ],
  },
  {
    files: ['**/*.ts'],
    plugins: { '@typescript-eslint': tseslint.plugin },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // A promise nobody awaited is the typical bug of a proxy.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafePromises: [
            { from: 'package', package: '@tapjs/core', name: 'PromiseWithSubtest' },
          ],
          allowForKnownSafeCalls: [
            { from: 'package', package: '@tapjs/core', name: ['test', 'teardown'] },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-globals': ['error', ...globals],
      'no-restricted-imports': restricted(''),
      'max-lines': ['error', { max: 500 }],
      'max-lines-per-function': ['error', { max: 80 }],
    },
  },
  ...packages.map((path) => ({
    files: [`${path}**/*.ts`],
    rules: { 'no-restricted-imports': restricted(path) },
  })),
  ...[...pureFolders.map((path) => `${path}**/*.ts`), ...pureFiles].map((glob) => ({
    files: [glob],
    rules: {
      'no-restricted-imports': restricted(glob, true),
      'no-restricted-globals': ['error', ...globals, ...clockGlobals],
      'no-restricted-properties': [
        'error',
        {
          object: 'Math',
          property: 'random',
          message: 'A pure folder has no randomness: pass the number in.',
        },
      ],
    },
  })),
  // What people read on a terminal, and the programs that tests run in pods, which speak through their output.
  {
    files: [
      '**/main.ts',
      'packages/cli/src/**/*.ts',
      'tools/**/*.ts',
      '**/test/**/*.ts',
      '**/bench/**/*.ts',
      'examples/**/*.ts',
    ],
    rules: { 'no-console': 'off' },
  },
)
