// SPDX-License-Identifier: Apache-2.0
// What is wrong with routes: expressions, filters, sessions. Each error names the field.
import t from 'tap'
import {
  maxPatternLength,
  maxPatternSize,
  patternProblem,
} from '../../src/api/pattern.ts'
import { formatError } from '../../src/api/object.ts'
import { compileYaml, service, snapshotOf } from '../support/objects.ts'

const route = (rule: string, kind = 'HTTPRoute'): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: web, namespace: shop}
spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [${rule}]}
`
const problems = (rule: string, kind?: string): string[] =>
  snapshotOf(route(rule, kind)).errors.map((error) =>
    formatError(error).replace(/^.*?spec\.rules\[0\]\.?/, ''),
  )

t.test('expressions', async (t) => {
  t.equal(patternProblem('/v[0-9]+/(users|orders)/[^/]{1,40}'), undefined)
  t.equal(patternProblem('(?i)\\d\\w\\s'), undefined)
  t.match(patternProblem('(?=x)'), /must be a regular expression of RE2: .*\(\?=/)
  t.match(patternProblem('(a)\\1'), /RE2/, 'a back-reference is not regular')
  t.match(patternProblem('a)(b'), /unexpected \)/, 'not even between brackets')
  t.match(patternProblem('a{1001}'), /RE2/)
  t.match(patternProblem('((a{1,20}){1,20}){1,20}'), /too large|RE2/)
  t.match(patternProblem('[a-z]{1,900}'), new RegExp(`at most ${maxPatternSize}`))
  t.match(patternProblem('a'.repeat(maxPatternLength + 1)), /longer than 1024/)
})

t.test('the field of a bad expression is named', async (t) => {
  const match = (text: string, kind?: string): string[] =>
    problems(`{matches: [${text}]}`, kind)
  const at = (field: string): [RegExp] => [
    new RegExp(`^matches\\[0\\]\\.${field}: must be a regular expression`),
  ]
  t.match(match("{path: {type: RegularExpression, value: '('}}"), at('path\\.value'))
  t.match(
    match("{headers: [{name: a, type: RegularExpression, value: '('}]}"),
    at('headers\\[0\\]\\.value'),
  )
  t.match(
    match("{queryParams: [{name: a, type: RegularExpression, value: '('}]}"),
    at('queryParams\\[0\\]\\.value'),
  )
  t.match(
    match("{method: {type: RegularExpression, service: '('}}", 'GRPCRoute'),
    at('method\\.service'),
  )
})

t.test('mirrors, CORS, sessions', async (t) => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    [
      '{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 5, fraction: {numerator: 1}}}]}',
      ['filters[0].requestMirror: percent and fraction exclude each other'],
    ],
    [
      '{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a}, fraction: {numerator: 3, denominator: 2}}}]}',
      ['filters[0].requestMirror.fraction: numerator must not exceed denominator'],
    ],
    [
      '{filters: [{type: CORS, cors: {allowOrigins: ["a.example"]}}]}',
      [
        'filters[0].cors.allowOrigins[0]: must be "*" or <scheme>://<host>, the host possibly beginning with "*."',
      ],
    ],
    [
      '{filters: [{type: CORS, cors: {allowHeaders: ["*", "a"]}}]}',
      ['filters[0].cors.allowHeaders: "*" must be the only item'],
    ],
    [
      '{sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}}',
      [
        'sessionPersistence.absoluteTimeout: missing; cookieConfig.lifetimeType is Permanent',
      ],
    ],
    [
      '{sessionPersistence: {sessionName: "a b"}}',
      ['sessionPersistence.sessionName: must be the name of a cookie or header'],
    ],
    ['{sessionPersistence: {type: Header, absoluteTimeout: 1h, idleTimeout: 5m}}', []],
  ]
  for (const [rule, want] of cases) {
    const got = problems(rule)
    if (want.length === 0) t.same(got, [], rule)
    else
      t.same(
        got.filter((each) => want.includes(each)),
        want,
        got.join('; '),
      )
  }
})

const conditionsOf = (yaml: string): unknown =>
  compileYaml(yaml).conditions.get('HTTPRoute/shop/web')

t.test('a mirror to nowhere is said, and costs nothing', async (t) => {
  const rule = `{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}], backendRefs: [{name: web, port: 80}]}`
  t.match(conditionsOf(service('shop', 'web', '10.96.0.5') + '---' + route(rule)), [
    { type: 'Accepted', status: 'True' },
    {
      type: 'ResolvedRefs',
      status: 'False',
      reason: 'BackendNotFound',
      message:
        'spec.rules[0].filters[0].requestMirror.backendRef: Service shop/gone does not exist; no copy is sent there',
    },
  ])
})

t.test('a backend that speaks what no route can', async (t) => {
  const web = service('shop', 'web', '10.96.0.5', ', appProtocol: kubernetes.io/wss')
  const plain = service('shop', 'plain', '10.96.0.6').replace('name: web', 'name: plain')
  const text = `${web}---${plain}---${route('{backendRefs: [{name: web, port: 80}]}').replace('name: web}]', 'name: plain}]')}`
  t.match(conditionsOf(text), [
    {},
    { reason: 'UnsupportedProtocol', message: /kubernetes\.io\/wss/ },
  ])
})
