// SPDX-License-Identifier: Apache-2.0
export { crds, group, type CustomResourceDefinition, type PrinterColumn } from './crds.ts'
export {
  structuralSchema,
  type StructuralSchema,
  type ValidationRule,
} from './structural.ts'
