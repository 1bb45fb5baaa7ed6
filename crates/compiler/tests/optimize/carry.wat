;; Sums and differences of several limbs, whose carries and borrows are found by comparison.
(module
    ;; Two limbs, whole.
    (func (export "add128") (param $a0 i64) (param $a1 i64) (param $b0 i64) (param $b1 i64) (result i64 i64)
        (local $s i64)
        (local.tee $s (i64.add (local.get $a0) (local.get $b0)))
        (i64.add
            (i64.add (local.get $a1) (local.get $b1))
            (i64.extend_i32_u (i64.lt_u (local.get $s) (local.get $a0)))))

    (func (export "sub128") (param $a0 i64) (param $a1 i64) (param $b0 i64) (param $b1 i64) (result i64 i64)
        (i64.sub (local.get $a0) (local.get $b0))
        (i64.sub
            (i64.sub (local.get $a1) (local.get $b1))
            (i64.extend_i32_u (i64.gt_u (local.get $b0) (local.get $a0)))))

    ;; The borrow before the difference.
    (func (export "sub_late") (param $a0 i64) (param $a1 i64) (param $b0 i64) (result i64 i64)
        (local $h i64)
        (local.set $h (i64.sub
            (local.get $a1)
            (i64.extend_i32_u (i64.lt_u (local.get $a0) (local.get $b0)))))
        (i64.sub (local.get $a0) (local.get $b0))
        (local.get $h))

    ;; Two carries into one limb, as a step of a product of many limbs has them.
    (func (export "step") (param $t i64) (param $c i64) (param $lo i64) (param $hi i64) (result i64 i64)
        (local $s i64) (local $u i64)
        (local.set $s (i64.add (local.get $t) (local.get $c)))
        (local.set $u (i64.add (local.get $s) (local.get $lo)))
        (local.get $u)
        (i64.add
            (i64.add
                (i64.extend_i32_u (i64.lt_u (local.get $s) (local.get $t)))
                (local.get $hi))
            (i64.extend_i32_u (i64.lt_u (local.get $u) (local.get $s)))))

    ;; The high limb comes after the low one has been used.
    (func (export "late") (param $p i32) (param $a i64) (param $b i64) (param $h i64) (result i64)
        (local $s i64)
        (local.set $s (i64.add (local.get $a) (local.get $b)))
        (global.set $used (local.get $s))
        (i64.add
            (i64.mul (local.get $h) (local.get $s))
            (i64.extend_i32_u (i64.lt_u (local.get $s) (local.get $b)))))

    ;; The limb of a constant.
    (func (export "constant") (param $a i64) (param $h i64) (result i64 i64)
        (local $s i64)
        (local.tee $s (i64.add (local.get $a) (i64.const 1234567890123)))
        (i64.add
            (i64.extend_i32_u (i64.lt_u (local.get $s) (i64.const 1234567890123)))
            (local.get $h)))

    ;; Three limbs.
    (func (export "three") (param $a0 i64) (param $a1 i64) (param $a2 i64) (param $b0 i64) (param $b1 i64) (param $b2 i64)
            (result i64 i64 i64)
        (local $c0 i64) (local $s0 i64) (local $s1 i64) (local $t i64) (local $c1 i64)
        (local.set $s0 (i64.add (local.get $a0) (local.get $b0)))
        (local.set $c0 (i64.extend_i32_u (i64.lt_u (local.get $s0) (local.get $a0))))
        (local.set $t (i64.add (local.get $a1) (local.get $b1)))
        (local.set $s1 (i64.add (local.get $t) (local.get $c0)))
        (local.set $c1 (i64.add
            (i64.extend_i32_u (i64.lt_u (local.get $t) (local.get $a1)))
            (i64.extend_i32_u (i64.lt_u (local.get $s1) (local.get $t)))))
        (local.get $s0)
        (local.get $s1)
        (i64.add (i64.add (local.get $a2) (local.get $b2)) (local.get $c1)))

    ;; The low limb is a part of the high one: carries that go round.
    (func (export "round") (param $a i64) (param $b i64) (result i64) (local $s i64)
        (local.set $s (i64.add (local.get $a) (local.get $b)))
        (i64.add (local.get $s) (i64.extend_i32_u (i64.lt_u (local.get $s) (local.get $a)))))
    (func (export "round_and_more") (param $a i64) (param $b i64) (param $c i64) (result i64) (local $s i64)
        (local.set $s (i64.add (local.get $a) (local.get $b)))
        (i64.add
            (i64.add (local.get $s) (local.get $c))
            (i64.extend_i32_u (i64.lt_u (local.get $s) (local.get $a)))))
    (func (export "round_and_later") (param $a i64) (param $b i64) (param $c i64) (result i64) (local $s i64)
        (local.set $s (i64.add (local.get $a) (local.get $b)))
        (i64.add
            (i64.add (i64.mul (local.get $c) (local.get $c)) (local.get $s))
            (i64.extend_i32_u (i64.lt_u (local.get $s) (local.get $a)))))
    (func (export "round_down") (param $a i64) (param $b i64) (result i64 i64) (local $d i64)
        (local.set $d (i64.sub (local.get $a) (local.get $b)))
        (i64.sub (local.get $d) (i64.extend_i32_u (i64.lt_u (local.get $a) (local.get $b))))
        (local.get $d))

    ;; The low limb, behind the high one, has a borrow of its own.
    (func (export "borrows") (param $a i64) (param $x i64) (param $p i64) (param $q i64) (result i64 i64)
        (local $b i64) (local $h i64)
        (local.set $b (i64.extend_i32_u (i64.lt_u (local.get $p) (local.get $q))))
        (local.set $h (i64.sub (local.get $x) (i64.extend_i32_u (i64.lt_u (local.get $a) (local.get $b)))))
        (local.get $h)
        (i64.sub (local.get $a) (local.get $b)))

    ;; Not a carry: signed, or of something else.
    (func (export "signed") (param $a i64) (param $b i64) (param $h i64) (result i64)
        (i64.add
            (local.get $h)
            (i64.extend_i32_u (i64.lt_s (i64.add (local.get $a) (local.get $b)) (local.get $a)))))
    (func (export "other") (param $a i64) (param $b i64) (param $h i64) (result i64)
        (i64.add
            (local.get $h)
            (i64.extend_i32_u (i64.lt_u (i64.add (local.get $a) (local.get $b)) (local.get $h)))))
    (func (export "greater") (param $a i64) (param $b i64) (param $h i64) (result i64)
        (i64.add
            (local.get $h)
            (i64.extend_i32_u (i64.gt_u (i64.add (local.get $a) (local.get $b)) (local.get $a)))))
    (global $used (export "used") (mut i64) (i64.const 0)))
