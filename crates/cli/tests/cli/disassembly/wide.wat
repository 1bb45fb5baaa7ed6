;; Numbers of 128 bits: as one operator, and from pieces as compilers write it that do not have it.
(module
  (func $mul (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))
  (func $add (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func $high_from_pieces (param $a i64) (param $b i64) (result i64)
    (local $al i64) (local $ah i64) (local $bl i64) (local $bh i64) (local $t i64)
    (local.set $al (i64.and (local.get $a) (i64.const 0xffffffff)))
    (local.set $ah (i64.shr_u (local.get $a) (i64.const 32)))
    (local.set $bl (i64.and (local.get $b) (i64.const 0xffffffff)))
    (local.set $bh (i64.shr_u (local.get $b) (i64.const 32)))
    (local.set $t
      (i64.add
        (i64.mul (local.get $ah) (local.get $bl))
        (i64.shr_u (i64.mul (local.get $al) (local.get $bl)) (i64.const 32))))
    (i64.add
      (i64.add
        (i64.mul (local.get $ah) (local.get $bh))
        (i64.shr_u (local.get $t) (i64.const 32)))
      (i64.shr_u
        (i64.add
          (i64.mul (local.get $al) (local.get $bh))
          (i64.and (local.get $t) (i64.const 0xffffffff)))
        (i64.const 32))))
  (func $add_with_carry (param $al i64) (param $ah i64) (param $bl i64) (param $bh i64) (result i64 i64)
    (local $low i64)
    (local.set $low (i64.add (local.get $al) (local.get $bl)))
    (local.get $low)
    (i64.add
      (i64.add (local.get $ah) (local.get $bh))
      (i64.extend_i32_u (i64.lt_u (local.get $low) (local.get $al))))))
