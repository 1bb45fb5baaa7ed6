;;! memory_reservation = 0
;;! memory_guard_size = 0
(module
  (memory $grows 1 2)
  (memory $fixed 1 1)
  ;; The smallest size covers the access: the size less the access cannot wrap.
  (func (param i32) (result i32)
    local.get 0
    i32.load)
  ;; Index and offset are added in 64 bits.
  (func (param i32) (result i32)
    local.get 0
    i32.load offset=65536)
  ;; The size of a memory that cannot grow is a constant.
  (func (param i32) (result i32)
    local.get 0
    i32.load $fixed))
