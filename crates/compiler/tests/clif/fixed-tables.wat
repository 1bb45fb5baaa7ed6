(module
  (type $unary (func (param i32) (result i32)))
  (type $open (sub (func)))
  (table $fixed 3 funcref)
  (table $exported (export "t") 3 funcref)
  (elem (table $fixed) (i32.const 1) func $same $open)
  (elem (table $exported) (i32.const 0) func $same)
  (func $same (type $unary) (local.get 0))
  (func $open (type $open))
  ;; The type is compared with a number, and code is found in the list.
  (func (param i32 i32) (result i32)
    (call_indirect $fixed (type $unary) (local.get 0) (local.get 1)))
  ;; A direct call.
  (func (param i32) (result i32)
    (call_indirect $fixed (type $unary) (local.get 0) (i32.const 1)))
  ;; Null: it traps.
  (func (param i32) (result i32)
    (call_indirect $fixed (type $unary) (local.get 0) (i32.const 0)))
  ;; The type is not final: by the instance's table.
  (func (param i32)
    (call_indirect $fixed (type $open) (local.get 0)))
  ;; The host may change it.
  (func (param i32 i32) (result i32)
    (call_indirect $exported (type $unary) (local.get 0) (local.get 1))))
