// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  checkGateway,
  checkNode,
  checkOwnDefinitions,
  checkPermissions,
  checkVersion,
} from '../src/check.ts'

t.test('API server', async (t) => {
  t.ok(checkVersion({ major: '1', minor: '29' }).ok)
  t.ok(checkVersion({ major: '1', minor: '31+' }).ok, 'as some providers write it')
  t.match(checkVersion({ major: '1', minor: '28' }), { ok: false, cost: /before 1\.29/ })
})

t.test('definitions', async (t) => {
  const name = 'meshes.mesh.pillion.dev'
  const wanted = [{ name, version: 'v1alpha1', scope: 'Cluster' }]
  const of = (versions: string[], scope: string) =>
    checkOwnDefinitions(wanted, [{ name, versions, scope }])[0]
  t.match(checkOwnDefinitions(wanted, [])[0], { ok: true, found: /absent/ })
  t.match(of(['v1alpha1'], 'Cluster'), { ok: true, found: 'present, v1alpha1' })
  t.match(of(['v1alpha1'], 'Namespaced'), { ok: false, cost: /scope cannot be changed/ })
  t.match(of(['v1'], 'Cluster'), { ok: false, cost: /v1alpha1 is needed/ })
  t.match(checkGateway([])[0], { ok: false, optional: true })
})

t.test('permissions', async (t) => {
  const asked = { verb: 'create', group: 'apps', resource: 'deployments', namespace: 'n' }
  t.match(checkPermissions([{ ...asked, allowed: true }]), [{ ok: true }])
  t.match(checkPermissions([{ ...asked, allowed: false }]), [
    { ok: false, found: 'may not create deployments.apps in namespace n' },
  ])
})

t.test('nodes', async (t) => {
  const node = {
    ...{ name: 'n', kernel: '6.18.3-arch1', architecture: 'amd64', os: 'linux' },
    runtime: 'containerd://2.1.0',
  }
  t.match(checkNode(node), { ok: true, found: /runtime|containerd:\/\/2\.1\.0$/ })
  t.match(checkNode({ ...node, kernel: '99.0.0' }), {
    ok: true,
    found: /newer than all that was tested/,
  })
  for (const [change, cost] of [
    [{ kernel: '5.4.0-100-generic' }, /Linux 5\.10 or newer/],
    [{ kernel: 'unknown' }, /no kernel version/],
    [{ os: 'windows' }, /it needs Linux/],
    [{ architecture: 's390x' }, /amd64 and arm64/],
    [{ runtime: 'docker://24' }, /containerd and CRI-O/],
  ] as const)
    t.match(checkNode({ ...node, ...change }), { ok: false, cost })
})
