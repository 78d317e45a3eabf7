// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { redact, redactLog, removed, scrub } from '../../src/sysdump/redact.ts'

t.test('an allow-list: what is not known is removed', async (t) => {
  t.same(
    redact({
      kind: 'Pod',
      metadata: { name: 'a', labels: { team: 'x' }, annotations: { k: 'v' } },
      spec: {
        containers: [
          { name: 'c', args: ['--password', 'p'], env: [{ name: 'E', value: 'v' }] },
        ],
        replicas: 2,
        paused: false,
      },
      data: { password: 'cA==' },
    }),
    {
      kind: 'Pod',
      metadata: { name: 'a', labels: { team: 'x' } },
      spec: {
        containers: [
          { name: 'c', args: [removed, removed], env: [{ name: 'E', value: removed }] },
        ],
        replicas: 2,
        paused: false,
      },
    },
  )
})

t.test('a policy in Shadow mode can be understood', async (t) => {
  const policy = {
    policy: 'AccessPolicy shop/api',
    rows: [{ rule: 'AccessPolicy shop/api rules[0]', direction: 'ingress', count: 3 }],
  }
  t.same(redact(policy), policy)
  t.same(redact({ spec: { mode: 'Shadow' } }), { spec: { mode: 'Shadow' } })
})

t.test('text', async (t) => {
  for (const [text, want] of [
    ['Authorization: Bearer abc.def', `Authorization: ${removed} ${removed}`],
    ['password=hunter2, next', `password=${removed}, next`],
    ['GET /a?token=1&b=2 done', `GET /a?${removed} done`],
    ['https://u:p@host/x', `https://${removed}@host/x`],
    ['node-1 acknowledged version 12', 'node-1 acknowledged version 12'],
    ['/sys/fs/bpf/pillion/node-1/links', '/sys/fs/bpf/pillion/node-1/links'],
    ['"api_key": "abc"', `"api_key": "${removed}"`],
  ] as const)
    t.equal(scrub(text), want)
})

t.test('logs: JSON by field, other lines by pattern', async (t) => {
  const log = '{"level":30,"msg":"ok","user":"bob"}\nplain secret=x\n{broken'
  t.equal(
    redactLog(log),
    `{"level":30,"msg":"ok","user":"${removed}"}\nplain secret=${removed}\n{broken`,
  )
})
