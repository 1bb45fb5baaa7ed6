;; Products of 64 by 64 bits, made of pieces of 32 bits.
(module
    ;; As compilers call it for `unsigned __int128`: a carry through two sums, and a low half of pieces.
    (func (export "multi3") (param $a i64) (param $b i64) (result i64 i64)
        (local $a1 i64) (local $b1 i64) (local $ll i64) (local $t i64) (local $u i64)
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $b1 (i64.shr_u (local.get $b) (i64.const 32)))
        (local.set $ll (i64.mul
            (local.tee $a (i64.and (local.get $a) (i64.const 0xffffffff)))
            (local.tee $b (i64.and (local.get $b) (i64.const 0xffffffff)))))
        (local.set $t (i64.add
            (i64.shr_u (local.get $ll) (i64.const 32))
            (i64.mul (local.get $a) (local.get $b1))))
        (local.set $u (i64.add
            (i64.and (local.get $t) (i64.const 0xffffffff))
            (i64.mul (local.get $a1) (local.get $b))))
        (i64.or
            (i64.shl (local.get $u) (i64.const 32))
            (i64.and (local.get $ll) (i64.const 0xffffffff)))
        (i64.add
            (i64.add (i64.mul (local.get $a1) (local.get $b1)) (i64.shr_u (local.get $t) (i64.const 32)))
            (i64.shr_u (local.get $u) (i64.const 32))))

    ;; Four high parts, pieces narrowed and extended, and the plain product for the low half.
    (func (export "four") (param $a i64) (param $b i64) (result i64 i64)
        (local $a0 i64) (local $b0 i64) (local $a1 i64) (local $b1 i64) (local $lh i64) (local $hl i64)
        (local.set $a0 (i64.extend_i32_u (i32.wrap_i64 (local.get $a))))
        (local.set $b0 (i64.extend_i32_u (i32.wrap_i64 (local.get $b))))
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $b1 (i64.extend_i32_u (i32.wrap_i64 (i64.shr_u (local.get $b) (i64.const 32)))))
        (local.set $lh (i64.mul (local.get $b1) (local.get $a0)))
        (local.set $hl (i64.mul (local.get $a1) (local.get $b0)))
        (i64.mul (local.get $a) (local.get $b))
        (i64.add
            (i64.shr_u
                (i64.add
                    (i64.add
                        (i64.shr_u (i64.mul (local.get $a0) (local.get $b0)) (i64.const 32))
                        (i64.and (i64.const 0xffffffff) (local.get $lh)))
                    (i64.and (local.get $hl) (i64.const 0xffffffff)))
                (i64.const 32))
            (i64.add
                (i64.add
                    (i64.shr_u (local.get $lh) (i64.const 32))
                    (i64.mul (local.get $a1) (local.get $b1)))
                (i64.shr_u (local.get $hl) (i64.const 32)))))

    ;; A square: the pieces in the middle are one.
    (func (export "square") (param $a i64) (result i64)
        (local $a0 i64) (local $a1 i64) (local $m i64) (local $t i64)
        (local.set $a0 (i64.and (local.get $a) (i64.const 0xffffffff)))
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $m (i64.mul (local.get $a0) (local.get $a1)))
        (local.set $t (i64.add
            (local.get $m)
            (i64.shr_u (i64.mul (local.get $a0) (local.get $a0)) (i64.const 32))))
        (i64.add
            (i64.add
                (i64.shr_u (local.get $t) (i64.const 32))
                (i64.shr_u
                    (i64.add (i64.and (local.get $t) (i64.const 0xffffffff)) (local.get $m))
                    (i64.const 32)))
            (i64.mul (local.get $a1) (local.get $a1))))

    ;; By a constant, with another addend.
    (func (export "constant") (param $a i64) (param $c i64) (result i64)
        (local $a0 i64) (local $a1 i64) (local $t i64)
        (local.set $a0 (i64.and (local.get $a) (i64.const 0xffffffff)))
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $t (i64.add
            (i64.mul (local.get $a1) (i64.const 0x89abcdef))
            (i64.shr_u (i64.mul (local.get $a0) (i64.const 0x89abcdef)) (i64.const 32))))
        (i64.add
            (i64.add
                (i64.add
                    (i64.mul (local.get $a1) (i64.const 0xfedcba98))
                    (local.get $c))
                (i64.shr_u (local.get $t) (i64.const 32)))
            (i64.shr_u
                (i64.add
                    (i64.and (local.get $t) (i64.const 0xffffffff))
                    (i64.mul (local.get $a0) (i64.const 0xfedcba98)))
                (i64.const 32))))

    ;; Of signed numbers: the same, corrected by the factors where the other one is negative.
    (func (export "signed") (param $a i64) (param $b i64) (result i64)
        (local $a0 i64) (local $b0 i64) (local $a1 i64) (local $b1 i64) (local $t i64)
        (local.set $a0 (i64.and (local.get $a) (i64.const 0xffffffff)))
        (local.set $b0 (i64.and (local.get $b) (i64.const 0xffffffff)))
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $b1 (i64.shr_u (local.get $b) (i64.const 32)))
        (local.set $t (i64.add
            (i64.mul (local.get $a0) (local.get $b1))
            (i64.shr_u (i64.mul (local.get $a0) (local.get $b0)) (i64.const 32))))
        (i64.add
            (i64.add
                (i64.add
                    (i64.mul (i64.shr_s (local.get $a) (i64.const 63)) (local.get $b))
                    (i64.mul (i64.shr_s (local.get $b) (i64.const 63)) (local.get $a)))
                (i64.mul (local.get $a1) (local.get $b1)))
            (i64.add
                (i64.shr_u (local.get $t) (i64.const 32))
                (i64.shr_u
                    (i64.add
                        (i64.and (local.get $t) (i64.const 0xffffffff))
                        (i64.mul (local.get $a1) (local.get $b0)))
                    (i64.const 32)))))

    ;; Not the high half: the sum in the middle may lose a carry.
    (func (export "overflows") (param $a i64) (param $b i64) (result i64)
        (local $a0 i64) (local $b0 i64) (local $a1 i64) (local $b1 i64)
        (local.set $a0 (i64.and (local.get $a) (i64.const 0xffffffff)))
        (local.set $b0 (i64.and (local.get $b) (i64.const 0xffffffff)))
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $b1 (i64.shr_u (local.get $b) (i64.const 32)))
        (i64.add
            (i64.mul (local.get $a1) (local.get $b1))
            (i64.shr_u
                (i64.add
                    (i64.add
                        (i64.mul (local.get $a0) (local.get $b1))
                        (i64.mul (local.get $a1) (local.get $b0)))
                    (i64.shr_u (i64.mul (local.get $a0) (local.get $b0)) (i64.const 32)))
                (i64.const 32))))

    ;; Nor this: the low parts are not carried on.
    (func (export "forgets") (param $a i64) (param $b i64) (result i64)
        (local $a0 i64) (local $b0 i64) (local $a1 i64) (local $b1 i64)
        (local.set $a0 (i64.and (local.get $a) (i64.const 0xffffffff)))
        (local.set $b0 (i64.and (local.get $b) (i64.const 0xffffffff)))
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $b1 (i64.shr_u (local.get $b) (i64.const 32)))
        (i64.add
            (i64.mul (local.get $a1) (local.get $b1))
            (i64.add
                (i64.shr_u
                    (i64.add
                        (i64.mul (local.get $a0) (local.get $b1))
                        (i64.shr_u (i64.mul (local.get $a0) (local.get $b0)) (i64.const 32)))
                    (i64.const 32))
                (i64.shr_u (i64.mul (local.get $a1) (local.get $b0)) (i64.const 32)))))

    ;; More is added to the high half, step by step, and each step is needed.
    (func (export "steps") (param $a i64) (param $b i64) (result i64 i64 i64)
        (local $a0 i64) (local $b0 i64) (local $a1 i64) (local $b1 i64) (local $t i64) (local $h i64)
        (local.set $a0 (i64.and (local.get $a) (i64.const 0xffffffff)))
        (local.set $b0 (i64.and (local.get $b) (i64.const 0xffffffff)))
        (local.set $a1 (i64.shr_u (local.get $a) (i64.const 32)))
        (local.set $b1 (i64.shr_u (local.get $b) (i64.const 32)))
        (local.set $t (i64.add
            (i64.mul (local.get $a0) (local.get $b1))
            (i64.shr_u (i64.mul (local.get $a0) (local.get $b0)) (i64.const 32))))
        (local.tee $h (i64.add
            (i64.mul (local.get $a1) (local.get $b1))
            (i64.add
                (i64.shr_u (local.get $t) (i64.const 32))
                (i64.shr_u
                    (i64.add
                        (i64.and (local.get $t) (i64.const 0xffffffff))
                        (i64.mul (local.get $a1) (local.get $b0)))
                    (i64.const 32)))))
        (local.tee $h (i64.add (local.get $h) (local.get $a)))
        (i64.add (local.get $b) (local.get $h))))
