;; Accesses that guard pages cannot check: an index of 64 bits.
(module
  (memory i64 1)
  (func $sum (param $at i64) (param $count i64) (result i64) (local $sum i64)
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $at))))
      (local.set $at (i64.add (local.get $at) (i64.const 8)))
      (br_if $next (i32.wrap_i64 (local.tee $count (i64.sub (local.get $count) (i64.const 1))))))
    (local.get $sum))
  (func $fields (param $at i64) (result i64)
    (i64.add (i64.add (i64.load (local.get $at)) (i64.load offset=8 (local.get $at))) (i64.load offset=16 (local.get $at)))))
