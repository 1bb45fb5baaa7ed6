;;! consume_fuel = true
;; A handler takes the count from where the thrower has left it.
(module
  (tag $t (param i32))
  (func $thrower
    i32.const 1
    throw $t)
  (func (result i32)
    block $caught (result i32)
      try_table (catch $t $caught)
        call $thrower
      end
      i32.const 0
    end))
