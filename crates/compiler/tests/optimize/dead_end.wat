;; Branches to nothing but a trap.
(module
    (memory (export "memory") 1)

    (func (export "assert") (param $x i32) (result i32)
        (if (i32.gt_u (local.get $x) (i32.const 100))
            (then (unreachable)))
        (i32.mul (local.get $x) (i32.const 3)))

    (func (export "require") (param $x i32) (result i32)
        (block $fine
            (br_if $fine (i32.and (local.get $x) (i32.const 1)))
            (unreachable))
        (i32.load (local.get $x)))

    ;; Nobody gets what is calculated in front of the trap.
    (func (export "forget") (param $x i32) (result i32)
        (if (i32.eq (local.get $x) (i32.const 4))
            (then (local.set $x (i32.mul (local.get $x) (local.get $x))) (unreachable)))
        (local.get $x))

    ;; Not so: something is done before.
    (func (export "note") (param $x i32)
        (if (local.get $x)
            (then (i32.store (i32.const 8) (local.get $x)) (unreachable)))))
