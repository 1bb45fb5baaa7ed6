(module
  ;; The context is the heap base: one address, the offset folded into the load.
  (memory 1)
  (func (param i32) (result i32)
    local.get 0
    i32.load offset=16)
  ;; Narrow accesses, and a value that goes straight from load to store.
  (func (param i32 i32)
    local.get 0
    local.get 1
    i32.load8_s offset=1
    i32.store16)
  ;; A constant address needs no index.
  (func (result i64)
    i32.const 1024
    i64.load offset=8))
