// SPDX-License-Identifier: Apache-2.0
// What an answer must be. The suite's own comparison leaves out the path that the backend saw, Location, and the method; here
// everything is compared that is said, and what is not said is what was asked.
import type { Ask, Reply } from '../app/client.ts'
import type { Expected } from './cases.ts'

/** What a comparison says: a tap test, or a list of failures. */
export interface Checks {
  ok(holds: boolean, what: string): unknown
  equal(got: unknown, want: unknown, what: string): unknown
  fail(what: string): unknown
}

/** Compares a reply with what the case wants. */
export function expectReply(t: Checks, want: Expected, asked: Ask, reply: Reply): void {
  const name =
    `${want.TestCaseName ?? ''} ${asked.method} ${asked.host}${asked.path}`.trim()
  const { Response: response = {} } = want
  const redirects = want.RedirectRequest !== undefined
  const statuses = response.StatusCodes ?? [
    response.StatusCode ?? (redirects ? 302 : 200),
  ]
  t.ok(
    statuses.includes(reply.status),
    `${name}: status ${reply.status} of ${statuses.join()}`,
  )
  if (response.Code !== undefined)
    t.equal(reply.grpcStatus, response.Code, `${name}: grpc-status`)
  expectHeaders(t, name, want, reply)
  if (redirects) {
    t.equal(
      reply.headers['location'],
      locationOf(want.RedirectRequest, asked),
      `${name}: Location`,
    )
    t.equal(reply.echo, undefined, `${name}: a redirect reaches no backend`)
    return
  }
  const refused = statuses.every((status) => status >= 400) || (response.Code ?? 0) > 0
  if (refused) t.equal(reply.echo, undefined, `${name}: reaches no backend`)
  else if (want.Backend !== undefined) expectEcho(t, name, want, asked, reply)
}

function expectEcho(
  t: Checks,
  name: string,
  want: Expected,
  asked: Ask,
  reply: Reply,
): void {
  const { echo } = reply
  if (echo === undefined)
    return void t.fail(`${name}: no backend answered: ${reply.text}`)
  const seen = want.ExpectedRequest?.Request ?? {}
  t.ok(
    echo.pod.startsWith(want.Backend ?? ''),
    `${name}: ${echo.pod} is of ${want.Backend}`,
  )
  t.equal(echo.path, seen.Path ?? asked.path, `${name}: path that the backend saw`)
  t.equal(echo.host, seen.Host ?? asked.host, `${name}: host that the backend saw`)
  t.equal(
    echo.method,
    asked.protocol === 'grpc' ? 'POST' : asked.method,
    `${name}: method`,
  )
  for (const [header, value] of Object.entries(seen.Headers ?? {})) {
    t.equal(
      echo.headers[header.toLowerCase()],
      value,
      `${name}: ${header} at the backend`,
    )
  }
  for (const header of want.ExpectedRequest?.AbsentHeaders ?? []) {
    t.equal(
      echo.headers[header.toLowerCase()],
      undefined,
      `${name}: no ${header} at the backend`,
    )
  }
}

function expectHeaders(
  t: Checks,
  name: string,
  { Response: response = {} }: Expected,
  reply: Reply,
): void {
  const spaced = (text: string | undefined): string | undefined =>
    response.IgnoreWhitespace === true ? text?.replaceAll(/\s/g, '') : text
  for (const [header, value] of Object.entries(response.Headers ?? {})) {
    const want = typeof value === 'string' ? value : value.join(',')
    t.equal(reply.headers[header.toLowerCase()], want, `${name}: ${header}`)
  }
  for (const [header, values] of Object.entries(response.ValidHeaderValues ?? {})) {
    const got = spaced(reply.headers[header.toLowerCase()])
    t.ok(
      values.map(spaced).includes(got),
      `${name}: ${header} is ${got}, of ${values.join(' | ')}`,
    )
  }
  for (const header of response.AbsentHeaders ?? []) {
    t.equal(reply.headers[header.toLowerCase()], undefined, `${name}: no ${header}`)
  }
}

/** The whole Location: what the case does not name is as it was asked. */
function locationOf(redirect: Expected['RedirectRequest'] = {}, asked: Ask): string {
  const scheme = redirect.Scheme ?? 'http'
  const host = redirect.Host ?? asked.host.replace(/:\d+$/, '')
  const port = redirect.Port ?? ''
  const shown =
    port === '' || port === { http: '80', https: '443' }[scheme] ? '' : `:${port}`
  return `${scheme}://${host}${shown}${redirect.Path ?? asked.path}`
}
