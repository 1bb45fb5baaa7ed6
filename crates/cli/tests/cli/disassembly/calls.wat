;; Calls of all kinds. Those through the table that the host cannot change need nothing of the instance.
(module
  (type $unary (func (param i32) (result i32)))
  (import "env" "imported" (func $imported (type $unary)))
  (table $fixed 3 funcref)
  (table $exported (export "table") 3 funcref)
  (elem (table $fixed) (i32.const 1) func $fibonacci $fibonacci)
  (elem (table $exported) (i32.const 1) func $fibonacci $fibonacci)
  (func $fibonacci (type $unary)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else
        (i32.add
          (call $fibonacci (i32.sub (local.get 0) (i32.const 1)))
          (call $fibonacci (i32.sub (local.get 0) (i32.const 2)))))))
  (func $import (type $unary) (call $imported (local.get 0)))
  (func $by_fixed_table (type $unary) (call_indirect $fixed (type $unary) (i32.const 7) (local.get 0)))
  (func $by_exported_table (type $unary) (call_indirect $exported (type $unary) (i32.const 7) (local.get 0)))
  (func $by_reference (param (ref $unary)) (result i32) (call_ref $unary (i32.const 7) (local.get 0)))
  (func $tail (type $unary) (return_call $fibonacci (local.get 0))))
