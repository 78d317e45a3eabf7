// SPDX-License-Identifier: Apache-2.0

/** Version of the wire (node.proto). The operator refuses a client that speaks another one. */
export const contractVersion = 1

/** Version of the software, reported to the operator and by every `--version`. */
export const softwareVersion = '0.1.0'
