;;! compiler_inlining = no
;;! consume_fuel = true
(module
  (import "" "host" (func $host))
  (type $empty (func))
  (table 1 funcref)
  (memory 1)
  ;; A check on entry, everything taken at the end; a nop costs nothing.
  (func (param i32) (result i32)
    nop
    local.get 0
    i32.const 1
    i32.add)
  ;; A check in the loop's header, taken before each branch.
  (func (param i32)
    loop $again
      local.get 0
      i32.load8_u
      local.tee 0
      br_if $again
    end)
  ;; Where paths part and meet again nothing is pending.
  (func (param i32) (result i32)
    local.get 0
    if (result i32)
      i32.const 1
    else
      i32.const 2
      i32.const 3
      i32.add
    end
    i32.const 4
    i32.add)
  ;; A block nobody branches to is part of the straight line.
  (func $straight (param i32)
    block
      local.get 0
      drop
    end
    local.get 0
    drop)
  ;; Calls take what came before them and themselves; guests hand the count on.
  (func (param i32)
    call $host
    local.get 0
    call $straight
    local.get 0
    call_indirect (type $empty))
  ;; The runtime gets the count and gives it back.
  (func (result i32)
    i32.const 1
    memory.grow)
  (func (param i32)
    block $a
      block $b
        local.get 0
        br_table $a $b
      end
      unreachable
    end)
  ;; A memory access says in its trap code what is pending (4, then 5); before a division it is taken.
  (func (param i32) (result i32)
    local.get 0
    i32.const 1
    i32.add
    i32.load
    i32.load
    local.get 0
    i32.div_u)
)
