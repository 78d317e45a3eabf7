// SPDX-License-Identifier: Apache-2.0
// Completion scripts for shells, from the command tree itself. Pure.
import type { Command } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** One command, and what may follow it. */
interface Place {
  /** "lab up"; '' for the program. */
  readonly path: string
  readonly words: readonly Word[]
}

interface Word {
  readonly text: string
  readonly about: string
}

/** The script that `eval`, `source` or a file of the shell takes. */
export function completionScript(program: Command, shell: Shell): string {
  return writers[shell](placesOf(program, ''))
}

function placesOf(command: Command, path: string): Place[] {
  const commands = command.commands.map((each) => ({
    text: each.name(),
    about: each.description(),
  }))
  const choices = command.registeredArguments
    .flatMap(({ argChoices = [] }) => argChoices)
    .map((text) => ({ text, about: '' }))
  const options = command.options.flatMap(({ short, long, description }) =>
    [short, long].flatMap((text) =>
      text === undefined ? [] : [{ text, about: description }],
    ),
  )
  const help = { text: '--help', about: 'what this command does' }
  const below = command.commands.flatMap((each) =>
    placesOf(each, path === '' ? each.name() : `${path} ${each.name()}`),
  )
  return [{ path, words: [...commands, ...choices, ...options, help] }, ...below]
}

const texts = ({ words }: Place): string => words.map(({ text }) => text).join(' ')

/** The longest path of commands that the line begins with decides; where a word of an option is wanted, files are offered. */
function bash(places: readonly Place[]): string {
  const cases = places.map((place) => `    '${place.path}') words='${texts(place)}' ;;`)
  const paths = places.map(({ path }) => `'${path}'`).join('|')
  return `# pillion completion for bash; in ~/.bashrc: source <(pillion completion bash)
_pillion() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' next words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="\${path:+$path }\${COMP_WORDS[i]}"
    case "$next" in ${paths}) path=$next ;; esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _pillion pillion
`
}

function zsh(places: readonly Place[]): string {
  const quote = (text: string): string => text.replaceAll("'", "'\\''")
  const described = ({ words }: Place): string =>
    words
      .map(({ text, about }) => `'${quote(`${text}:${about.replaceAll(':', '\\:')}`)}'`)
      .join(' ')
  const cases = places.map(
    (place) => `    '${place.path}') words_=(${described(place)}) ;;`,
  )
  const paths = places.map(({ path }) => `'${path}'`).join('|')
  return `#compdef pillion
# pillion completion for zsh; in ~/.zshrc: source <(pillion completion zsh)
_pillion() {
  local where='' next i
  local -a words_
  for ((i = 2; i < CURRENT; i++)); do
    next="\${where:+$where }\${words[i]}"
    case "$next" in ${paths}) where=$next ;; esac
  done
  case "$where" in
${cases.join('\n')}
  esac
  _describe pillion words_ || _files
}
compdef _pillion pillion
`
}

function fish(places: readonly Place[]): string {
  const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
  const lines = places.flatMap(({ path, words }) =>
    words.map(({ text, about }) => {
      const option = /^--?/.exec(text)?.[0]
      const name = text.slice(option?.length ?? 0)
      const kind =
        option === undefined ? `-f -a ${name}` : `${option === '-' ? '-s' : '-l'} ${name}`
      const described = about === '' ? '' : ` -d ${quote(about)}`
      return `complete -c pillion -n ${quote(`__pillion_at '${path}'`)} ${kind}${described}`
    }),
  )
  const paths = places.map(({ path }) => quote(path)).join(' ')
  return `# pillion completion for fish: pillion completion fish > ~/.config/fish/completions/pillion.fish
function __pillion_at
  set -l where ''
  for word in (commandline -opc)[2..]
    set -l next (string trim "$where $word")
    contains -- $next ${paths}; and set where $next
  end
  test "$where" = "$argv[1]"
end
${lines.join('\n')}
`
}

const writers: Readonly<Record<Shell, (places: readonly Place[]) => string>> = {
  bash,
  zsh,
  fish,
}
