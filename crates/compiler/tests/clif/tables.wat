(module
  (import "env" "t" (table $imported 1 funcref))
  (table $functions 4 funcref)
  (table $externs 4 4 externref)
  (elem declare func 0)
  (func (param i32) (result funcref)
    local.get 0
    table.get $functions)
  (func (param i32)
    local.get 0
    local.get 0
    table.get $imported
    table.set $functions)
  (func (param i32) (result externref)
    local.get 0
    table.get $externs)
  ;; In bounds of the smallest size.
  (func (param externref)
    i32.const 3
    local.get 0
    table.set $externs)
  (func (result i32 i32)
    table.size $functions
    table.size $externs)
  (func (param externref) (result i32)
    local.get 0
    i32.const 1
    table.grow $externs)
  (func (result funcref i32)
    ref.func 0
    ref.null func
    ref.is_null))
