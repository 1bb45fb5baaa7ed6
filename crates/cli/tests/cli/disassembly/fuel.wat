;;! consume_fuel = true
;; Fuel is counted in a register: an addition and a branch for each round of a loop.
(module
  (func $count (param i32)
    (loop $next
      (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func $twice (param i32) (call $count (local.get 0)) (call $count (local.get 0))))
