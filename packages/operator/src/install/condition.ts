// SPDX-License-Identifier: Apache-2.0
// PURE: what the Mesh says of the installation, in words.
import type { Action } from './decide.ts'
import { finalizer } from './names.ts'

/** Type of the condition; the other conditions of a Mesh have another writer. */
export const installedType = 'Installed'

export interface InstallCondition {
  readonly type: typeof installedType
  readonly status: 'True' | 'False'
  readonly reason:
    'Installed' | 'Progressing' | 'Halted' | 'Uninstalling' | 'UninstallLate'
  readonly message: string
}

export interface InstallStatus {
  readonly action: Action
  readonly isRemoval: boolean
  /** The removal takes longer than it should. */
  readonly isLate: boolean
  readonly nodes: { readonly ready: number; readonly total: number }
  /** Nodes that the Mesh does not select any more and that are not clean yet, in words. */
  readonly leaving?: readonly string[]
}

/** Nodes that a message names. */
const maxNamed = 10

export function conditionOf(status: InstallStatus): InstallCondition {
  const { action, isRemoval, isLate, nodes, leaving = [] } = status
  const make = (
    reason: InstallCondition['reason'],
    message: string,
  ): InstallCondition => ({
    type: installedType,
    status: reason === 'Installed' ? 'True' : 'False',
    reason,
    message,
  })
  const named = leaving.slice(0, maxNamed).join(', ')
  const more = leaving.length > maxNamed ? ', …' : ''
  const count = [
    `${nodes.ready} of ${nodes.total} nodes`,
    ...(leaving.length === 0
      ? []
      : [`taking the datapath from ${leaving.length} left out: ${named}${more}`]),
  ].join('; ')
  if (action.kind === 'done')
    return make(leaving.length === 0 ? 'Installed' : 'Progressing', count)
  if (action.kind === 'halt') {
    const advice = 'change the Mesh to go on or back'
    return make('Halted', `${count}; ${action.halt.message}; ${advice}`)
  }
  const text =
    action.kind === 'wait'
      ? action.message
      : `replacing ${action.pods.length === 1 ? action.pods[0]?.node : 'all nodes'}`
  if (!isRemoval) return make('Progressing', `${count}; ${text}`)
  if (!isLate) return make('Uninstalling', text)
  const advice = `repair these nodes or delete their Node objects; taking the finalizer ${finalizer} away leaves the datapath on them`
  return make('UninstallLate', `${text}; ${advice}`)
}
