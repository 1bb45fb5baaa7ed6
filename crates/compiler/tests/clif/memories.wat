(module
  (import "env" "m" (memory $imported 1))
  (memory $second 1)
  ;; Neither lies in the slot: bases come from records, and accesses to different memories do not alias.
  (func (param i32)
    local.get 0
    local.get 0
    i32.load $imported offset=4
    i32.store $second)
  (func (result i32 i32)
    memory.size $imported
    memory.size $second)
  (func (param i32 i32 i32)
    local.get 0
    local.get 1
    local.get 2
    memory.copy $second $imported))
