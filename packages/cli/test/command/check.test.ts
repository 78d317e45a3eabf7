// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { namespace, startCluster } from '../support/cluster.ts'

// Each run of the command is a process: slow on a busy machine.
t.setTimeout(110_000)

t.test('no API server: exit code 3 and what to look at', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  const text = cluster.kubelet.kubeconfig.replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1')
  writeFileSync(join(cluster.dir, 'kubeconfig'), text)
  for (const args of [['check'], ['status'], ['sysdump']]) {
    const run = await cluster.pillion(...args)
    t.match(
      run,
      { code: 3, err: /ECONNREFUSED.*--kubeconfig and --context/ },
      args.join(' '),
    )
  }
})

t.test('check', async (t) => {
  const cluster = await startCluster()
  t.teardown(() => cluster.close())
  const node = (name: string, kernelVersion: string): Promise<void> =>
    cluster.create(
      '/api/v1/nodes',
      { apiVersion: 'v1', kind: 'Node', metadata: { name } },
      {
        nodeInfo: {
          ...{ kernelVersion, architecture: 'amd64', operatingSystem: 'linux' },
          containerRuntimeVersion: 'containerd://2.0.0',
        },
      },
    )
  await node('good', '6.18.1')
  const fit = await cluster.pillion('check')
  t.match(fit, { code: 0, out: /✓\s+API server\s+1\.34/ })
  t.match(fit.out, /✓\s+definition meshes\.mesh\.pillion\.dev\s+absent/)
  t.match(fit.out, /✗\s+Gateway API httproutes\s+absent\s+no such routes/)
  t.match(fit.out, /the mesh can be installed/)
  await node('old', '5.4.0-amd64')
  const old = await cluster.pillion('check')
  t.match(old, { code: 1, out: /✗\s+node old\s+linux\/amd64, kernel 5\.4\.0-amd64/ })
  const { findings } = await cluster.pillionJson<{ findings: { ok: boolean }[] }>('check')
  t.ok(findings.length > 5)
  const text = cluster.kubelet.kubeconfig
  const token = /token: (\S+)/.exec(text)?.[1] ?? ''
  const weak = /token: (\S+)/.exec(cluster.server.kubeconfig('reader'))?.[1] ?? ''
  const rule = {
    apiGroups: ['', 'apiextensions.k8s.io'],
    resources: ['*'],
    verbs: ['list'],
  }
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  await cluster.create(`${rbac}/clusterroles`, {
    ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' },
    ...{ metadata: { name: 'reader' }, rules: [rule] },
  })
  await cluster.create(`${rbac}/clusterrolebindings`, {
    ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding' },
    metadata: { name: 'reader' },
    roleRef: {
      apiGroup: 'rbac.authorization.k8s.io',
      kind: 'ClusterRole',
      name: 'reader',
    },
    subjects: [{ kind: 'User', name: 'reader', apiGroup: 'rbac.authorization.k8s.io' }],
  })
  writeFileSync(join(cluster.dir, 'kubeconfig'), text.replace(token, weak))
  t.match(await cluster.pillion('check'), {
    code: 1,
    out: new RegExp(
      `✗\\s+permission\\s+may not create deployments.apps in namespace ${namespace}`,
    ),
  })
})
