// SPDX-License-Identifier: Apache-2.0
// Paths as kubelets, containerd and CRI-O make them.
import t from 'tap'
import { placeOf, podUidOf } from '../src/pod-path.ts'

const uid = '0a1b2c3d-1111-2222-3333-444455556666'
const uid_ = uid.replaceAll('-', '_')
/** A static pod's: MD5 of its manifest. */
const hash = '7c8f2d5b3a9e4f1c8d7e6b5a49382716'
const id = '9fd4e1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e'

const shapes: readonly (readonly [
  what: string,
  path: string,
  uid: string | undefined,
])[] = [
  // cgroupfs driver
  ['containerd, guaranteed', `/kubepods/pod${uid}/${id}`, uid],
  ['containerd, burstable', `/kubepods/burstable/pod${uid}/${id}`, uid],
  ['containerd, besteffort', `/kubepods/besteffort/pod${uid}/${id}`, uid],
  ['CRI-O, burstable', `/kubepods/burstable/pod${uid}/crio-${id}`, uid],
  ['CRI-O, its monitor', `/kubepods/burstable/pod${uid}/crio-conmon-${id}`, uid],
  ['the pod itself', `/kubepods/besteffort/pod${uid}`, uid],
  ['static pod', `/kubepods/burstable/pod${hash}/${id}`, hash],
  ['cgroupRoot /kubelet (kind)', `/kubelet/kubepods/burstable/pod${uid}/${id}`, uid],
  ['a node in Docker', `/docker/${id}/kubepods/besteffort/pod${uid}/${id}`, uid],
  ['cgroups of its own', `/kubepods/burstable/pod${uid}/${id}/init/worker`, uid],
  [
    'a cluster in a pod',
    `/kubepods/pod${uid}/${id}/kubepods/pod11111111-2222-3333-4444-555555555555`,
    uid,
  ],
  // systemd driver
  [
    'containerd, guaranteed',
    `/kubepods.slice/kubepods-pod${uid_}.slice/cri-containerd-${id}.scope`,
    uid,
  ],
  [
    'containerd, burstable',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid_}.slice/cri-containerd-${id}.scope`,
    uid,
  ],
  [
    'CRI-O, besteffort',
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${uid_}.slice/crio-${id}.scope`,
    uid,
  ],
  [
    'CRI-O with crun',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid_}.slice/crio-${id}.scope/container`,
    uid,
  ],
  [
    'static pod',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${hash}.slice/cri-containerd-${id}.scope`,
    hash,
  ],
  [
    'cgroupRoot /kubelet.slice (kind)',
    `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${uid_}.slice/cri-containerd-${id}.scope`,
    uid,
  ],
  [
    'cgroupRoot /runtime.slice, guaranteed',
    `/runtime.slice/runtime-kubepods.slice/runtime-kubepods-pod${uid_}.slice`,
    uid,
  ],
  [
    'below a node in Docker',
    `/system.slice/docker-${id}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${uid_}.slice`,
    uid,
  ],
  // none
  ['a service of the host', '/system.slice/containerd.service', undefined],
  ["CRI-O's monitor beside the pods", `/system.slice/crio-conmon-${id}.scope`, undefined],
  ['the parent of all', '/kubepods.slice', undefined],
  ['a QoS class', '/kubepods/burstable', undefined],
  ['no uid', '/kubepods/pod', undefined],
  ['a name without its parent', `/kubepods.slice/pod${uid}`, undefined],
  ['a QoS class that is none', `/kubepods/guaranteed/pod${uid}`, undefined],
  ['a class in a class', `/kubepods/burstable/besteffort/pod${uid}`, undefined],
  ['outside of kubepods', `/system.slice/pod${uid}`, undefined],
  [
    // The kubelet on systemd, containerd on cgroupfs: Kubernetes calls it unstable, and there is no cgroup of the pod.
    'two drivers on one node',
    `/system.slice/containerd.service/kubepods-burstable-pod${uid_}.slice:cri-containerd:${id}`,
    undefined,
  ],
  ['the root', '/', undefined],
]

t.test('whose a path is', async (t) => {
  for (const [what, path, expected] of shapes)
    t.equal(podUidOf(path), expected, `${what}: ${path}`)
})

t.test('relative to a parent of kubepods', async (t) => {
  t.equal(podUidOf(`kubepods/pod${uid}`), uid)
  t.equal(podUidOf(`kubelet-kubepods.slice/kubelet-kubepods-pod${uid_}.slice`), uid)
})

t.test('what is no pod', async (t) => {
  t.same(placeOf('/kubelet.slice/kubelet-kubepods.slice'), { kind: 'kubepods' })
  t.same(placeOf('/kubepods.slice/kubepods-burstable.slice'), { kind: 'qos' })
  t.same(placeOf('/kubepods.slice/init.scope'), { kind: 'foreign' })
})
