(module
  (import "host" "log" (func $log (param i32)))
  (memory 1)
  (table 1 funcref)
  (global $g (mut i32) (i32.const 0))

  ;; What is hardly more than a call: in place of every one, a wrapper and what it wraps, too.
  (func $get (param i32) (result i32) (i32.load offset=8 (local.get 0)))
  (func $wrap (param i32) (result i32) (call $get (i32.add (local.get 0) (i32.const 4))))
  (func (param i32) (result i32) (i32.add (call $get (local.get 0)) (call $wrap (local.get 0))))

  ;; `return` and branches out of the body lead behind the call; results are several.
  (func $both (param i32) (result i32 i64)
    (if (local.get 0) (then (return (i32.const 1) (i64.const 2))))
    (br 0 (i32.const 3) (i64.const 4)))
  (func (param i32) (result i64 i32)
    (local i64)
    (call $both (local.get 0))
    (local.set 1)
    (return (local.get 1) (i32.const 7))
    drop)

  ;; What is larger only in loops. Its locals are zero each time.
  (func $swap (param i32 i32)
    (local i32 i32)
    (i32.store offset=8 (local.get 0) (i32.popcnt (i32.clz (i32.load offset=8 (local.get 1)))))
    (local.set 3 (i32.add (local.get 2) (i32.load (local.get 0))))
    (local.set 2 (i32.load (local.get 1)))
    (i32.store (local.get 0) (local.get 2))
    (i32.store (local.get 1) (local.get 3))
    (global.set $g (i32.add (global.get $g) (i32.const 1)))
    (if (i32.eqz (local.get 3)) (then (global.set $g (i32.const 0)))))
  (func (param i32)
    (call $swap (local.get 0) (i32.const 0))
    (loop
      (call $swap (local.get 0) (i32.const 4))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 8))))))

  ;; What traps has its own position, and the caller goes on.
  (func $half (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1)))
  (func (param i32) (result i32) (i32.sub (call $half (local.get 0) (i32.const 2)) (i32.const 1)))

  ;; What returns in one place and goes round in none.
  (func $out (param i32) (result i32) (block (br_if 0 (local.get 0)) (return (i32.const 1))) unreachable)
  (func (param i32) (result i32) (call $out (local.get 0)))

  ;; What calls itself, once.
  (func $sum (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
    (i32.add (local.get 0) (call $sum (i32.sub (local.get 0) (i32.const 1)))))

  ;; Nothing is inlined into itself by way of others, nor is what is called last.
  (func $ping (param i32) (call $pong (local.get 0)))
  (func $pong (param i32) (call $ping (local.get 0)))
  (func (param i32) (result i32) (return_call $get (local.get 0)))

  ;; Not: what leads to a dead end; imports; what is in a table.
  (func $fail (call $log (i32.const 1)) unreachable)
  (func (param i32) (call $fail) (call_indirect (param i32) (local.get 0) (i32.const 0))))
