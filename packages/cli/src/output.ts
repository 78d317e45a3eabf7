// SPDX-License-Identifier: Apache-2.0
// Tables, JSON and progress on the terminal.
import { writeSync } from 'node:fs'
import Table from 'cli-table3'
import { Option, type Command } from 'commander'
import { colors, progressColors } from './colors.ts'

export type Format = 'table' | 'json'

export function formatOption(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how the answer is written')
      .choices(['table', 'json'])
      .default('table'),
  )
}

/** Writes to stdout; a reader that went away (`| head`) ends the program quietly. */
export function print(text: string): void {
  process.stdout.write(text + '\n')
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

const borderless = Object.fromEntries(
  [
    ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left'],
    ...[
      'bottom-right',
      'left',
      'left-mid',
      'mid',
      'mid-mid',
      'right',
      'right-mid',
      'middle',
    ],
  ].map((part) => [part, '']),
)

/** Columns of text under a heading, two spaces apart. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const out = new Table({
    head: head.map((title) => colors.bold(title)),
    chars: borderless,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2, compact: true },
  })
  out.push(...rows.map((row) => [...row]))
  return out
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Age of a timestamp: "12s", "3m", "5h", "2d". */
export function age(timestamp: string | undefined, nowMs: number): string {
  if (timestamp === undefined) return ''
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(timestamp)) / 1000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)}h`
    : `${Math.round(seconds / 86_400)}d`
}

/** Green when good, red otherwise. */
export function mark(text: string, good: boolean): string {
  return good ? colors.green(text) : colors.red(text)
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
const frameMs = 80

/** Progress on stderr: one live line on a terminal, one line per step elsewhere. */
export class Steps {
  readonly #live = process.stderr.isTTY
  #timer: NodeJS.Timeout | undefined
  #step = ''
  #text = ''
  #sinceMs = Date.now()
  #frame = 0

  /** Goes on with `step`; what was before is done. */
  at(step: string, text: string): void {
    if (step !== this.#step) {
      this.#finish(progressColors.green('✓'))
      this.#step = step
      this.#sinceMs = Date.now()
    }
    this.#text = text
    if (this.#live) this.#timer ??= setInterval(() => this.#draw(), frameMs)
  }

  #draw(): void {
    const frame = progressColors.cyan(frames[this.#frame++ % frames.length] ?? '')
    const width = (process.stderr.columns ?? 80) - 4
    writeSync(2, `\r\x1b[K${frame} ${`${this.#step}: ${this.#text}`.slice(0, width)}`)
  }

  #finish(symbol: string): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    if (this.#step === '') return
    const seconds = ((Date.now() - this.#sinceMs) / 1000).toFixed(1)
    const clear = this.#live ? '\r\x1b[K' : ''
    writeSync(
      2,
      `${clear}${symbol} ${this.#step} ${progressColors.dim(`${seconds} s`)}\n`,
    )
    this.#step = ''
  }

  done(): void {
    this.#finish(progressColors.green('✓'))
  }

  fail(): void {
    this.#finish(progressColors.red('✗'))
  }
}
