;; Loops over arrays: one access for each element, its address in the addressing mode, no check, and the memory's address read in
;; front of the loop.
(module
  (memory (export "memory") 1)
  (func $sum (param $at i32) (param $count i32) (result i32) (local $sum i32)
    (block $done
      (br_if $done (i32.eqz (local.get $count)))
      (loop $next
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
    (local.get $sum))
  (func $blur (param $from i32) (param $to i32) (param $i i32)
    (loop $next
      (f64.store offset=8 (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 3)))
        (f64.mul (f64.const 0.25)
          (f64.add
            (f64.add
              (f64.load (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 3))))
              (f64.load offset=16 (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 3)))))
            (f64.load offset=8 (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 3)))))))
      (br_if $next (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
  (func $length (param $at i32) (result i32) (local $end i32)
    (local.set $end (local.get $at))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $at))))
