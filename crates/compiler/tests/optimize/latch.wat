;; Loops whose counter is compared with a constant after it was stepped.
(module
    (memory (export "memory") 1)

    (func (export "up") (param $x i32) (result i32) (local $i i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (i32.mul (local.get $sum) (local.get $x)) (local.get $i)))
            (br_if $next (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 400))))
        (local.get $sum))

    (func (export "down") (param $x i32) (result i32) (local $i i32) (local $sum i32)
        (local.set $i (i32.const 100))
        (block $behind
            (loop $next
                (local.set $sum (i32.add (i32.mul (local.get $sum) (local.get $x)) (local.get $i)))
                (br_if $behind (i32.eq (local.tee $i (i32.sub (local.get $i) (i32.const 2))) (i32.const 10)))
                (br $next)))
        (local.get $sum))

    ;; Two loops in each other, to zero and beyond the sign.
    (func (export "nested") (param $x i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
        (local.set $i (i32.const 0x7ffffff0))
        (loop $outer
            (local.set $j (i32.const -64))
            (loop $inner
                (i32.store8 (i32.and (local.get $j) (i32.const 0xffff)) (local.get $x))
                (local.set $sum (i32.add (i32.mul (local.get $sum) (local.get $x)) (local.get $j)))
                (br_if $inner (i32.ne (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 0))))
            (br_if $outer (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const -0x7ffffff0))))
        (local.get $sum))

    ;; Not so: the step is not needed again, or is not constant.
    (func (export "last") (param $i i32) (result i32)
        (if (i32.eq (i32.add (local.get $i) (i32.const 4)) (i32.const 8))
            (then (return (i32.const 1))))
        (local.get $i))
    (func (export "stride") (param $by i32) (result i32) (local $i i32)
        (local.set $by (i32.or (i32.and (local.get $by) (i32.const 62)) (i32.const 1)))
        (loop $next
            (br_if $next (i32.ne
                (i32.and (local.tee $i (i32.add (local.get $i) (local.get $by))) (i32.const 255))
                (i32.const 0))))
        (local.get $i)))
