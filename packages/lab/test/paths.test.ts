// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { cgroupMount, podCgroup, systemCgroup } from '../src/paths.ts'

t.test('cgroup v2 is found where it is mounted', async (t) => {
  const hybrid =
    'tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n' +
    'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n'
  t.equal(cgroupMount(hybrid), '/sys/fs/cgroup/unified')
  t.equal(cgroupMount('cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n'), '/sys/fs/cgroup')
  t.equal(cgroupMount('none /mnt/a\\040b cgroup2 rw 0 0\n'), '/mnt/a b')
  t.throws(() => cgroupMount('proc /proc proc rw 0 0\n'), {
    code: 'host',
    message: /mount one/,
  })
})

t.test('cgroups of pods and of a node', async (t) => {
  t.match(podCgroup('node-1', 'u-1'), /\/pillion-lab\/node-1\/kubepods\/podu-1$/)
  t.match(systemCgroup('node-2', 'proxy'), /\/pillion-lab\/node-2\/system\/proxy$/)
})
