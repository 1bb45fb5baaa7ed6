;; Alignment first, then bounds; waiting leaves both to the runtime. A shared memory is compared with what is reserved for it.
(module
  (memory 1 2 shared)
  (memory i64 1 2 shared)
  (func (param i32 i64) (result i64)
    (i64.atomic.rmw16.add_u offset=6 (local.get 0) (local.get 1)))
  (func (param i64 i32 i32) (result i32)
    (i32.atomic.rmw.cmpxchg 1 (local.get 0) (local.get 1) (local.get 2)))
  (func (param i32) (result i32) (i32.atomic.load8_u (local.get 0)))
  (func (param i64 i32 i64) (result i32)
    (memory.atomic.wait32 1 offset=8 (local.get 0) (local.get 1) (local.get 2)))
  (func (result i32) (memory.size 0)))
