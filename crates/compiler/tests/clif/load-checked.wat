;;! memory_reservation = 0
;;! memory_guard_size = 65536
(module
  (memory 1 2)
  ;; Offsets within the guard share one check of the index.
  (func (param i32) (result i32)
    local.get 0
    i32.load
    local.get 0
    i32.load offset=4
    i32.add)
  ;; The offset is too far from null.
  (func (param i32) (result i32)
    local.get 0
    i32.load offset=8192)
  ;; An address inside the smallest size is not checked.
  (func (result i32)
    i32.const 65532
    i32.load)
  (func (result i32)
    i32.const 65533
    i32.load))
