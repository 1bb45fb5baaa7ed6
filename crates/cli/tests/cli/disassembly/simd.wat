;; Vectors.
(module
  (memory 1)
  (func $dot (param $a i32) (param $b i32) (param $count i32) (result v128) (local $sum v128)
    (loop $next
      (local.set $sum
        (i32x4.add (local.get $sum)
          (i32x4.dot_i16x8_s (v128.load (local.get $a)) (v128.load (local.get $b)))))
      (local.set $a (i32.add (local.get $a) (i32.const 16)))
      (local.set $b (i32.add (local.get $b) (i32.const 16)))
      (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (local.get $sum))
  (func $reverse (param v128) (result v128)
    (i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 (local.get 0) (local.get 0)))
  (func $scale (param v128 f32) (result v128) (f32x4.mul (local.get 0) (f32x4.splat (local.get 1))))
  (func $mask (param v128) (result i32) (i8x16.bitmask (i8x16.lt_s (local.get 0) (v128.const i64x2 0 0)))))
