// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  adminSocketOf,
  containerOf,
  nodeOf,
  troublesOf,
  type Pod,
} from '../../src/cluster/pods.ts'

const pod = (containers: Pod['spec']['containers'], status?: Pod['status']): Pod => ({
  metadata: { name: 'p' },
  spec: { containers },
  ...(status === undefined ? {} : { status }),
})

t.test('which container, by name or by its socket', async (t) => {
  const two = pod([{ name: 'agent' }, { name: 'proxy' }])
  t.equal(containerOf(two, 'proxy')?.name, 'proxy')
  t.equal(containerOf(pod([{ name: 'main' }]), 'operator')?.name, 'main')
  const args = ['--admin-socket', '/a']
  t.equal(containerOf(pod([{ name: 'x' }, { name: 'y', args }]), 'agent')?.name, 'y')
  t.equal(containerOf(pod([{ name: 'x' }, { name: 'y' }]), 'operator'), undefined)
})

t.test('where the socket is, and how Node is called', async (t) => {
  const env = [{ name: 'PILLION_AGENT_ADMIN_SOCKET', value: '/e' }]
  for (const [container, want] of [
    [{ args: ['--admin-socket', '/a'] }, '/a'],
    [{ command: ['x', '--admin-socket=/b'] }, '/b'],
    [{ env }, '/e'],
    [{}, '/run/pillion/agent.sock'],
  ] as const)
    t.equal(adminSocketOf({ name: 'agent', ...container }, 'agent'), want)
  t.equal(nodeOf({ name: 'x', command: ['/opt/bin/node', 'main.js'] }), '/opt/bin/node')
  t.equal(nodeOf({ name: 'x', args: ['--node=node-1'] }), '/usr/local/bin/node')
})

t.test('why a pod does not run', async (t) => {
  const of = (state: object, restartCount = 0) =>
    troublesOf(
      pod([], { containerStatuses: [{ name: 'c', ready: false, restartCount, state }] }),
    )
  const waiting = { reason: 'ImagePullBackOff', message: 'no such image' }
  t.same(of({ waiting }), ['pod p, container c: ImagePullBackOff (no such image)'])
  t.same(of({ waiting: { reason: 'ContainerCreating' } }), [])
  t.match(of({}, 7), [/restarted 7 times/])
})
