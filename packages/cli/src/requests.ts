// SPDX-License-Identifier: Apache-2.0
// Rules for requests, as the operator compiled them for proxies: listed, or asked about one request. Pure.
import {
  evaluateRequest,
  isAboutCaller,
  type RequestCondition,
  type RequestPolicy,
  type RequestRule,
  strictPath,
} from '@pillion/contract'
import { CliError } from './errors.ts'

/** A request as it is described on the command line. */
export interface Described {
  readonly method: string
  readonly path: string
  readonly authority: string
  /** Name, value, name, value…, names in lower case. */
  readonly headers: readonly string[]
}

/** Who asks, and the port of the endpoint. */
export interface Call {
  readonly caller: number
  readonly port: number
}

/** What the proxy would answer. `status` 0: the request goes on. */
export interface Answer {
  readonly status: 0 | 400 | 401 | 403
  readonly allowed: boolean
  /** The rule or policy that decided, or what is wrong with the path. */
  readonly by: string
  /** What policies in Shadow mode would have decided otherwise by. */
  readonly shadow?: string
}

/** One rule that is about a caller, in words. */
export interface ListedRule {
  readonly action: 'allow' | 'deny'
  readonly shadow: boolean
  /** One of them must hold. */
  readonly requests: readonly string[]
  readonly rule: string
}

/** What the proxy's own evaluator says, for a request without a valid token. */
export function answerTo(policy: RequestPolicy, call: Call, request: Described): Answer {
  const strict = strictPath(request.path)
  if ('problem' in strict)
    return { status: 400, allowed: false, by: `the path: ${strict.problem}` }
  const question = { ...request, ...call, path: strict.path, token: undefined }
  const { enforced, shadow } = evaluateRequest(policy, question)
  const differs = shadow !== undefined && shadow.allowed !== enforced.allowed
  return {
    status: enforced.allowed ? 0 : enforced.wantsToken ? 401 : 403,
    allowed: enforced.allowed,
    by: enforced.by || 'no policy is about it',
    ...(differs ? { shadow: shadow.by } : {}),
  }
}

/** Rules that are about the caller and the port, denials first, as they are asked. */
export function rulesFor(policy: RequestPolicy, call: Call): ListedRule[] {
  return [...policy.denials, ...policy.permissions]
    .filter((rule) => isAboutCaller(rule, call))
    .map((rule) => ({
      action: rule.deny ? 'deny' : 'allow',
      shadow: rule.shadow,
      requests: requestTexts(rule),
      rule: rule.text,
    }))
}

/** One text for each condition; one of them must hold. */
export function requestTexts({ http }: RequestRule): string[] {
  return http.length === 0 ? ['any'] : http.map(conditionText)
}

/** "GET|HEAD /api* /healthz header x-user claim role=admin token". Values of headers may be secrets: -o json has them. */
function conditionText(condition: RequestCondition): string {
  const { methods, paths, headers, claims, providers } = condition
  const parts = [
    [...(methods ?? [])].join('|'),
    ...paths.map(({ value, prefix }) => (prefix ? `${value}*` : value)),
    ...headers.map(({ name }) => `header ${name}`),
    ...claims.map(({ path, values }) => {
      const wanted = values === undefined ? '' : `=${[...values].join('|')}`
      return `claim ${path.join('.')}${wanted}`
    }),
    ...(claims.length === 0 && providers.size > 0 ? ['token'] : []),
  ]
  return parts.filter((part) => part !== '').join(' ') || 'any'
}

/** `--method`, `--path`, `--header`; undefined: none was given. Throws a CliError `usage`. */
export function describedRequest(
  flags: {
    readonly method?: string
    readonly path?: string
    readonly header?: readonly string[]
  },
  authority: string,
): Described | undefined {
  const { method, path, header = [] } = flags
  if (method === undefined && path === undefined && header.length === 0) return undefined
  const pairs = header.map(headerOf)
  const host = pairs.findLast(([name]) => name === 'host')?.[1]
  return {
    method: method ?? 'GET',
    path: path ?? '/',
    authority: host ?? authority,
    headers: pairs.filter(([name]) => name !== 'host').flat(),
  }
}

function headerOf(text: string): [name: string, value: string] {
  const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)$/.exec(text) ?? []
  if (name === undefined || value === undefined)
    throw new CliError('usage', `--header "${text}" is not "Name: value"`)
  return [name.toLowerCase(), value.trimEnd()]
}
