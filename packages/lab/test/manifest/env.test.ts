// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { containerEnv, expandVariables, fieldValue } from '../../src/manifest/env.ts'

const fields = {
  name: 'web-1',
  namespace: 'shop',
  uid: 'u',
  labels: { app: 'web' },
  annotations: {},
  nodeName: 'node-1',
  serviceAccountName: 'web',
  podIPs: ['10.244.1.2', 'fd00:10:244:1::2'],
  hostIP: '10.245.0.1',
}

t.test('$(NAME) expands, $$ escapes, unknown names stay', async (t) => {
  const env = { A: '1', B: 'x$(A)' }
  t.equal(expandVariables('$(A) $(B) $(C) $$(A) $A $', env), '1 x$(A) $(C) $(A) $A $')
})

t.test('variables refer to earlier ones and to fields', async (t) => {
  const env = containerEnv(
    [
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'URL', value: 'http://$(IP):$(PORT)' },
      { name: 'PORT', value: '80' },
      { name: 'EMPTY' },
    ],
    fields,
    { PATH: '/bin' },
  )
  t.same(env, {
    PATH: '/bin',
    IP: '10.244.1.2',
    URL: 'http://10.244.1.2:$(PORT)', // defined later: stays, as in Kubernetes
    PORT: '80',
    EMPTY: '',
  })
})

t.test('field paths', async (t) => {
  t.equal(fieldValue("metadata.labels['app']", fields), 'web')
  t.equal(fieldValue("metadata.labels['none']", fields), '')
  t.equal(fieldValue('status.podIPs', fields), '10.244.1.2,fd00:10:244:1::2')
  t.equal(fieldValue('spec.nodeName', fields), 'node-1')
  t.equal(fieldValue('spec.nonsense', fields), undefined)
})
