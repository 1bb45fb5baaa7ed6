;; Comparisons go into the branch, without a value between; switches are jump tables.
(module
  (memory 1)
  (func $switch (param i32) (result i32)
    (block $d (block $c (block $b (block $a
      (br_table $a $b $c $a $d (local.get 0)))
      (return (i32.const 10)))
      (return (i32.const 20)))
      (return (i32.const 30)))
    (i32.const 40))
  (func $smaller (param i32 i32) (result i32)
    (select (local.get 0) (local.get 1) (i32.lt_s (local.get 0) (local.get 1))))
  (func $compare (param i32 i32) (result i32)
    (if (i32.eqz (i32.and (local.get 0) (i32.const 1))) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get 0) (i32.load (local.get 1))) (then (return (i32.const 2))))
    (i32.eqz (i32.ne (local.get 0) (local.get 1))))
  (func $nested (param i32 i32) (local $i i32) (local $j i32)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $inner
        (if (i32.load8_u (i32.add (local.get $i) (local.get $j)))
          (then (i32.store8 (local.get $j) (i32.const 1))))
        (br_if $inner (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get 1))))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get 0))))))
