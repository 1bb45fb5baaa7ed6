(module
  ;; Offsets past the guard are compared with the size; the offset is added before the address is replaced by null.
  (memory 1)
  (func (param i32) (result i32)
    local.get 0
    i32.load offset=0x7fffffff)
  (func (param i32) (result i32)
    local.get 0
    i32.load offset=0xffffffff)
  ;; The last offset that the guard covers, and the first that it does not.
  (func (param i32) (result i32)
    local.get 0
    i32.load offset=0x1fffffc)
  (func (param i32) (result i32)
    local.get 0
    i32.load offset=0x1fffffd))
