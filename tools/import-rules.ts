// SPDX-License-Identifier: Apache-2.0
// Who may import whom, and why not. ESLint shows the reason in the editor; test/repo/imports.test.ts checks the tree.

/** One package of the workspace: what it may import, and what it must not, with the reason. */
export interface PackageRule {
  /** Workspace packages (without `@pillion/`) that it may import. Every other edge is an error. */
  readonly mayImport: readonly string[]
  /** Why the other edges do not exist; ends the message of a refused import. */
  readonly because: string
}

/** The dependency rule of ARCHITECTURE.md: arrows only ever point down this list. */
export const packageRules: Readonly<Record<string, PackageRule>> = {
  contract: {
    mayImport: [],
    because: 'contract is the wire and imports nothing of ours',
  },
  'ebpf-l4': {
    mayImport: ['contract'],
    because: 'the kernel side must run without a proxy and without an operator',
  },
  'node-l7-proxy': {
    mayImport: ['contract'],
    because:
      'the proxy holds no privilege: it reaches the kernel only by socket options on its own sockets',
  },
  'node-agent': {
    mayImport: ['contract', 'ebpf-l4'],
    because:
      'a node learns the cluster only through the contract, and the proxy is another process',
  },
  operator: {
    mayImport: ['contract'],
    because: 'the control plane does not depend on a data plane',
  },
  lab: {
    mayImport: ['operator'],
    because:
      'the lab shares the reading of manifests with the operator and starts all else as processes',
  },
  cli: {
    mayImport: ['lab', 'operator', 'contract'],
    because:
      'the command line talks to processes through their sockets, and to a cluster through the client of the operator',
  },
  bench: {
    mayImport: [],
    because:
      'the benchmark drives bin/pillion as a user does, so that nothing is measured that a user does not get',
  },
}

/** A module from outside that only some places may import. */
export interface ModuleRule {
  readonly module: string
  /** Path prefixes from the root of the repository. */
  readonly onlyIn: readonly string[]
  readonly because: string
}

export const moduleRules: readonly ModuleRule[] = [
  {
    module: '@kubernetes/client-node',
    onlyIn: ['packages/operator/'],
    because:
      'only the operator talks to the Kubernetes API; take what you need from @pillion/contract',
  },
  {
    module: 'undici',
    onlyIn: [
      'packages/node-l7-proxy/src/upstream/',
      'packages/node-l7-proxy/test/',
      'test/',
    ],
    because:
      'upstream connections are owned by node-l7-proxy/src/upstream; elsewhere use node:http',
  },
  {
    module: '@grpc/grpc-js',
    onlyIn: [
      'packages/contract/',
      'packages/operator/',
      'examples/',
      'bench/',
      'packages/node-agent/test/',
      'packages/node-l7-proxy/test/',
      'test/',
    ],
    because: 'nodes subscribe through @pillion/contract; only the operator serves',
  },
]

/** Folders whose files take values and return values: no I/O, no clock, no randomness, no logger. */
export const pureFolders: readonly string[] = [
  'packages/contract/src/requests/',
  'packages/operator/src/compile/',
  'packages/operator/src/crd/',
  'packages/ebpf-l4/src/plan/',
  'packages/ebpf-l4/src/diff/',
  'packages/node-l7-proxy/src/route/',
]

/** Single files with the same promise, for stages that need only one. */
export const pureFiles: readonly string[] = [
  'packages/contract/src/select.ts',
  'packages/ebpf-l4/src/plan.ts',
  'packages/ebpf-l4/src/diff.ts',
]

/** Modules that a pure file must not import: everything of Node, and the logger. */
export const isImpureModule = (specifier: string): boolean =>
  specifier.startsWith('node:') || specifier === 'pino' || specifier === 'prom-client'
