;;! compiler_inlining = no
;; Indices that loops carry along become 64 bits wide. No function makes more than some thousand rounds.
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "\01\02\03\04\05\06\07\08")

  ;; It wraps round where 32 bits end: behind the last bytes come the first.
  (func (export "wraps") (param $at i32) (result i32) (local $count i32) (local $sum i32)
    (local.set $at (i32.or (local.get $at) (i32.const 0xffff0000)))
    (local.set $count (i32.const 100))
    (loop $next
      (if (i32.lt_u (local.get $at) (i32.const 65536))
        (then (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))))
      (local.set $at (i32.add (local.get $at) (i32.const 1021)))
      (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (i32.add (local.get $sum) (local.get $at)))

  ;; Two indices change places in each round.
  (func (export "swaps") (param $a i32) (param $b i32) (result i32)
    (local $t i32) (local $count i32) (local $sum i32)
    (local.set $a (i32.and (local.get $a) (i32.const 0xfff)))
    (local.set $b (i32.and (local.get $b) (i32.const 0xfff)))
    (local.set $count (i32.const 33))
    (loop $next
      (i32.store (local.get $a) (i32.add (i32.load (local.get $b)) (local.get $count)))
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 7)) (i32.load8_u (local.get $a))))
      (local.set $t (local.get $a))
      (local.set $a (local.get $b))
      (local.set $b (local.get $t))
      (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (i32.xor (local.get $sum) (local.get $a)))

  ;; What is negative as a number is large as an index, and out of bounds.
  (func (export "down") (param $at i32) (result i32) (local $sum i32)
    (local.set $at (i32.and (local.get $at) (i32.const 0x7ff)))
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
      (br_if $next (i32.gt_s (local.tee $at (i32.sub (local.get $at) (i32.const 3))) (i32.const -4))))
    (local.get $sum))

  ;; Paths meet in the loop, with values from loads, calls and selections.
  (func $half (param i32) (result i32) (i32.shr_s (local.get 0) (i32.const 1)))
  (func (export "merges") (param $at i32) (param $x i32) (result i32) (local $count i32) (local $sum i32)
    (local.set $at (i32.and (local.get $at) (i32.const 0xffff)))
    (local.set $count (i32.const 50))
    (loop $next
      (if (i32.and (local.get $x) (i32.const 1))
        (then (local.set $at (i32.and (call $half (local.get $at)) (i32.const 0xffff))))
        (else
          (if (i32.and (local.get $x) (i32.const 2))
            (then (local.set $at (select (local.get $at) (i32.const 8) (i32.and (local.get $x) (i32.const 4)))))
            (else (local.set $at (i32.load16_s (i32.and (local.get $at) (i32.const 0xfffe))))))))
      (local.set $sum (i32.add (i32.rotl (local.get $sum) (i32.const 1)) (i32.load8_s (i32.and (local.get $at) (i32.const 0xffff)))))
      (if (i32.lt_u (local.get $at) (i32.const 0x10000))
        (then (i32.store8 (local.get $at) (local.get $sum))))
      (local.set $x (i32.rotl (local.get $x) (i32.const 3)))
      (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (i32.add (local.get $sum) (local.get $at)))

  ;; Loops in each other; the inner one begins where the outer one is.
  (func (export "nested") (param $x i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
    (loop $outer
      (local.set $j (local.get $i))
      (loop $inner
        (i32.store16 (local.get $j) (i32.add (i32.load16_u (local.get $i)) (local.get $x)))
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load16_s (local.get $j))))
        (br_if $inner (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 40))) (i32.const 1000))))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 17))) (i32.const 400))))
    (local.get $sum))

  ;; A table of branches leads round again: its block is left alone.
  (func (export "table") (param $at i32) (param $x i32) (result i32) (local $count i32)
    (local.set $at (i32.and (local.get $at) (i32.const 0xfff)))
    (local.set $count (i32.const 40))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
        (i32.store8 (local.get $at) (local.get $x))
        (local.set $at (i32.and (i32.add (local.get $at) (i32.const 5)) (i32.const 0xfff)))
        (local.set $x (i32.rotl (local.get $x) (i32.const 5)))
        (br_table $next $next $end $next (i32.and (local.get $x) (i32.const 3)))))
    (i32.add (local.get $at) (i32.load (local.get $at))))

  ;; Where a 64-bit number is made of it for other reasons.
  (func (export "extends") (param $i i32) (param $sum i64) (result i64) (local $count i32)
    (local.set $count (i32.const 20))
    (loop $next
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 3)) (i64.extend_i32_u (local.get $i))))
      (local.set $i (i32.mul (local.get $i) (i32.const 0x10001)))
      (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (i64.add (local.get $sum) (i64.extend_i32_s (local.get $i)))))
