// SPDX-License-Identifier: Apache-2.0
// PURE: a trie of path elements over one list of rules, so that a table of thousands costs a request only the elements of its
// path. It holds places in the list, and the smallest place that matches wins: whatever the order is, it is kept.
import { matchesBeyondPath, matchesPath } from './match.ts'
import type { RouteRequest, Rule } from './table.ts'

/** Shorter lists are faster to go through: see bench/route.ts. */
export const indexedFrom = 8

/** Most nodes are leaves with one place: what is not needed is not made. */
type Node = {
  /** By the next element of the path. */
  children: Map<string, Node> | undefined
  /** Places of rules whose path is exactly this, ascending. */
  exact: number[] | undefined
  /** Places of rules that are about this and everything below. */
  prefix: number[] | undefined
}

export class RouteIndex {
  readonly #rules: readonly Rule[]
  readonly #root: Node = newNode()
  /** Places of rules that are about any path, expressions, and what no request's path can be. */
  readonly #others: number[] = []

  constructor(rules: readonly Rule[]) {
    this.#rules = rules
    for (const [place, { path }] of rules.entries()) {
      if ((path.kind !== 'exact' && path.kind !== 'prefix') || !isIndexable(path.value))
        this.#others.push(place)
      else (this.#nodeAt(path.value)[path.kind] ??= []).push(place)
    }
  }

  /** The same as going through the list: the first rule that matches. */
  find(request: RouteRequest): Rule | undefined {
    const { path } = request
    const question = path.indexOf('?')
    const end = question < 0 ? path.length : question
    let best = this.#rules.length
    if (end === 0 || path.startsWith('/'))
      best = this.#below(this.#root, 0, end, request, best)
    for (const place of this.#others) {
      if (place >= best) break
      const rule = this.#rules[place]
      if (
        rule !== undefined &&
        matchesPath(rule.path, path) &&
        matchesBeyondPath(rule, request)
      )
        best = place
    }
    return this.#rules[best]
  }

  /**
   * The smallest place at or below `node`, if it is before `best`. `start` is where the rest of the path begins, with a
   * slash; `end` where its query does. Goes down first: longer paths stand before shorter ones, and spare these.
   */
  #below(
    node: Node,
    start: number,
    end: number,
    request: RouteRequest,
    best: number,
  ): number {
    if (start === end) best = this.#first(node.exact, request, best)
    else if (node.children !== undefined) {
      const slash = request.path.indexOf('/', start + 1)
      const next = slash < 0 || slash > end ? end : slash
      const child = node.children.get(request.path.slice(start + 1, next))
      if (child !== undefined) best = this.#below(child, next, end, request, best)
    }
    return this.#first(node.prefix, request, best)
  }

  #first(
    places: readonly number[] | undefined,
    request: RouteRequest,
    best: number,
  ): number {
    if (places === undefined) return best
    for (const place of places) {
      if (place >= best) return best
      const rule = this.#rules[place]
      if (rule !== undefined && matchesBeyondPath(rule, request)) return place
    }
    return best
  }

  #nodeAt(path: string): Node {
    let node = this.#root
    for (const element of path.split('/').slice(1)) {
      node.children ??= new Map()
      let child = node.children.get(element)
      if (child === undefined) node.children.set(element, (child = newNode()))
      node = child
    }
    return node
  }
}

function newNode(): Node {
  return { children: undefined, exact: undefined, prefix: undefined }
}

/** The Gateway API allows nothing else; other values are compared as the list would. */
function isIndexable(path: string): boolean {
  return path === '' || (path.startsWith('/') && !path.includes('?'))
}
