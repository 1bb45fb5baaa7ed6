(module
  (import "env" "f" (func $imported (param i32) (result i32)))
  (table $fixed 4 4 funcref)
  (table $grows 4 funcref)
  (type $t (func (param i32) (result i32)))
  (func $direct (param i32) (result i32)
    local.get 0
    call $direct)
  (func (param i32) (result i32)
    local.get 0
    call $imported)
  ;; Size and base of a table that cannot grow never change.
  (func (param i32 i32) (result i32)
    local.get 0
    local.get 1
    call_indirect $fixed (type $t))
  (func (param i32 i32) (result i32)
    local.get 0
    local.get 1
    call_indirect $grows (type $t))
  (func (result i32 i64 f32)
    call 5))
