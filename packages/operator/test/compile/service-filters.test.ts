// SPDX-License-Identifier: Apache-2.0
// Filters of users, from the manifest to the contract.
import t from 'tap'
import { type ApiObject, parseObject, type RawObject } from '../../src/api/object.ts'
import { compileServiceFilters } from '../../src/compile/service-filters.ts'

const declared = (filters: unknown): RawObject => ({
  apiVersion: 'mesh.pillion.dev/v1alpha1',
  kind: 'L7Service',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { targetRef: { name: 'web' }, protocol: 'http', filters },
})

t.test('in order, with defaults; the configuration as it was written', async (t) => {
  const config = { keyid: 'k', deep: { list: [1, null, { a: true }] } }
  const { object, errors } = parseObject(
    'L7Service',
    declared([
      { name: 'sign-headers', config, failureMode: 'Bypass', timeout: '50ms' },
      { name: 'audit' },
    ]),
    'test.yaml',
  )
  t.strictSame(errors, [])
  const { spec } = object as ApiObject<'L7Service'>
  t.strictSame(compileServiceFilters(spec.filters), [
    {
      name: 'sign-headers',
      configJson: JSON.stringify(config),
      timeoutMs: 50,
      bypass: true,
    },
    { name: 'audit', configJson: '', timeoutMs: 1000, bypass: false },
  ])
})

t.test('what cannot be meant is refused', async (t) => {
  for (const filter of [
    {},
    { name: '../sign' },
    { name: 'sign.ts' },
    { name: 'a', timeout: '0s' },
    { name: 'a', timeout: '31s' },
    { name: 'a', failureMode: 'Open' },
    { name: 'a', config: 'text' },
    { name: 'a', config: { long: 'x'.repeat(16_384) } },
  ]) {
    const { errors } = parseObject('L7Service', declared([filter]), 'test.yaml')
    t.ok(errors[0]?.field.startsWith('spec.filters[0]'), JSON.stringify(errors[0]))
  }
  const many = Array.from({ length: 9 }, () => ({ name: 'a' }))
  const { errors } = parseObject('L7Service', declared(many), 'test.yaml')
  t.equal(errors.length, 1, 'at most eight')
})
