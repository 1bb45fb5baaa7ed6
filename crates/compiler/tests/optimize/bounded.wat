;; Indices with bounds in a memory whose accesses are checked.
(module
    (memory (export "memory") i64 1)
    (func (export "masked") (param $i i64) (param $v i64) (result i64)
        (i64.store offset=8 (i64.and (local.get $i) (i64.const 0xfff0)) (local.get $v))
        (i64.load offset=7 (i64.and (local.get $v) (i64.const 0xfff1))))
    (func (export "shifted") (param $i i64) (param $v i64) (result i64)
        (i64.store (i64.shl (i64.and (local.get $i) (i64.const 0x1fff)) (i64.const 3)) (local.get $v))
        (i64.load (i64.shr_u (local.get $i) (i64.const 48))))
    (func (export "wrapped") (param $i i64) (result i64)
        (i64.load (i64.add (i64.and (local.get $i) (i64.const 15)) (i64.const -8)))))
