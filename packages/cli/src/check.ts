// SPDX-License-Identifier: Apache-2.0
// What a cluster must have before the mesh is installed, judged from what was asked of it. Pure.

/** One line of `pillion check`. */
export interface Finding {
  readonly what: string
  /** yes; no: something will not work; no with `optional`: a part that can be done without. */
  readonly ok: boolean
  readonly optional?: boolean
  readonly found: string
  /** What a ✗ costs, and what to do; empty for a ✓. */
  readonly cost: string
}

/** CEL rules of CRDs are stable from here on (KEP-2876). */
const minimumMinor = 29

export function checkVersion(version: { major: string; minor: string }): Finding {
  const minor = Number.parseInt(version.minor, 10)
  const ok = Number(version.major) > 1 || minor >= minimumMinor
  return {
    what: 'API server',
    ok,
    found: `${version.major}.${version.minor}`,
    cost: ok
      ? ''
      : `rules of our kinds are not enforced before 1.${minimumMinor}: upgrade the cluster`,
  }
}

export interface Definition {
  readonly name: string
  readonly versions: readonly string[]
  readonly scope: string
}

/** A definition that is wanted. */
export interface WantedDefinition {
  readonly name: string
  readonly version: string
  readonly scope: string
}

/** Ours come with the installation: absent is fine, another shape is not. */
export function checkOwnDefinitions(
  wanted: readonly WantedDefinition[],
  present: readonly Definition[],
): Finding[] {
  return wanted.map(({ name, version, scope }) => {
    const what = `definition ${name}`
    const found = present.find((each) => each.name === name)
    if (found === undefined)
      return { what, ok: true, found: 'absent: comes with the installation', cost: '' }
    if (found.scope !== scope)
      return {
        ...{ what, ok: false, found: `present with scope ${found.scope}` },
        cost: `${scope} is needed and a scope cannot be changed: the installation fails; delete this definition, which deletes its objects`,
      }
    if (!found.versions.includes(version))
      return {
        ...{ what, ok: false, found: `present with ${found.versions.join(', ')}` },
        cost: `${version} is needed: its objects may not survive the change; look at them first`,
      }
    return { what, ok: true, found: `present, ${version}`, cost: '' }
  })
}

/** Of the Gateway API; the mesh works without. */
const gatewayKinds = ['httproutes', 'grpcroutes'] as const

export function checkGateway(present: readonly Definition[]): Finding[] {
  return gatewayKinds.map((plural) => {
    const found = present.find(
      ({ name }) => name === `${plural}.gateway.networking.k8s.io`,
    )
    const ok = found?.versions.includes('v1') ?? false
    return {
      what: `Gateway API ${plural}`,
      ok,
      optional: true,
      found: found === undefined ? 'absent' : found.versions.join(', '),
      cost: ok
        ? ''
        : 'no such routes; all else works. Install the standard channel of the Gateway API, at any time',
    }
  })
}

/** `verb` on `resource` of `group`, and whether the caller may. */
export interface Permission {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly namespace?: string
  readonly allowed: boolean
}

/** One line when all is allowed, else one for each that is not. */
export function checkPermissions(permissions: readonly Permission[]): Finding[] {
  const what = 'permission'
  const refused = permissions.filter(({ allowed }) => !allowed)
  if (refused.length === 0)
    return [
      {
        what,
        ok: true,
        found: `all ${permissions.length} that an installation needs`,
        cost: '',
      },
    ]
  return refused.map(({ verb, group, resource, subresource, namespace }) => {
    const where = namespace === undefined ? '' : ` in namespace ${namespace}`
    const below = subresource === undefined ? '' : `/${subresource}`
    const name = `${resource}${group === '' ? '' : `.${group}`}${below}`
    return {
      ...{ what, ok: false, found: `may not ${verb} ${name}${where}` },
      cost:
        subresource === undefined
          ? 'install, upgrade and uninstall fail there: ask an administrator of the cluster'
          : 'no status, config, diff and sysdump of processes: ask an administrator of the cluster',
    }
  })
}

export interface NodeFacts {
  readonly name: string
  readonly kernel: string
  readonly architecture: string
  readonly os: string
  readonly runtime: string
}

/** The oldest and the newest that `make test-kernels` has in docs/kernel-support.md. */
const testedKernels = { oldest: [5, 10], newest: [7, 3] } as const

export function checkNode(node: NodeFacts): Finding {
  const { name, kernel, architecture, os, runtime } = node
  const what = `node ${name}`
  const found = `${os}/${architecture}, kernel ${kernel}, ${runtime}`
  const bad = (cost: string): Finding => ({ what, ok: false, found, cost })
  const stays = 'the mesh does not run on this node'
  if (os !== 'linux') return bad(`${stays}: it needs Linux`)
  if (architecture !== 'amd64' && architecture !== 'arm64')
    return bad(`${stays}: images are for amd64 and arm64`)
  const version = kernelOf(kernel)
  if (version === undefined) return bad(`"${kernel}" is no kernel version`)
  const { oldest, newest } = testedKernels
  if (!isAtLeast(version, oldest))
    return bad(`${stays}: its programs need Linux ${oldest.join('.')} or newer`)
  if (!/^(containerd|cri-o):\/\//.test(runtime))
    return bad(
      'pods are found by the cgroups of containerd and CRI-O: others stay unmanaged',
    )
  // Releases in between are not all tried.
  const untried = isAtLeast(version, [newest[0], newest[1] + 1])
    ? ` (newer than all that was tested, ${newest.join('.')}: the agent tries what it needs at its start)`
    : ''
  return { what, ok: true, found: `${found}${untried}`, cost: '' }
}

function kernelOf(text: string): readonly [number, number] | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(text) ?? []
  return major === undefined ? undefined : [Number(major), Number(minor)]
}

function isAtLeast(
  [major, minor]: readonly [number, number],
  [wantMajor, wantMinor]: readonly [number, number],
): boolean {
  return major > wantMajor || (major === wantMajor && minor >= wantMinor)
}
