// SPDX-License-Identifier: Apache-2.0
// PURE: port ranges as blocks of a power of two, which is what the kernel looks up.

/** A block: its first port, and how many leading bits of the 16 are fixed. 16 is one port, 0 is any port. */
export interface PortBlock {
  readonly port: number
  readonly portBits: number
}

export const anyPort: PortBlock = { port: 0, portBits: 0 }

/** The fewest blocks that are exactly `first` to `last`, both included: 1 to 65535 are 16 of them, never more than 30. */
export function portBlocks(first: number, last: number): PortBlock[] {
  const blocks: PortBlock[] = []
  let port = first
  while (port <= last) {
    let size = port === 0 ? 65_536 : port & -port
    while (port + size - 1 > last) size >>= 1
    blocks.push({ port, portBits: 16 - Math.log2(size) })
    port += size
  }
  return blocks
}
