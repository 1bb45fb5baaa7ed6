;;! compiler_inlining = no
;; What is read from a memory right after it was written there.
(module
    (memory $m (export "memory") 1)
    (memory $wide (export "wide") i64 1)

    ;; One address from a sum, the other from an offset: the first read remains, for its trap; the second one does not.
    (func (export "pair") (param $p i32) (param $a i64) (param $b i64) (result i64 i64)
        (local $q i32)
        (local.set $q (i32.add (local.get $p) (i32.const 16)))
        (i64.store offset=8 (local.get $q) (local.get $a))
        (i64.store (local.get $q) (local.get $b))
        (i64.load offset=16 (local.get $p))
        (i64.load offset=24 (local.get $p)))

    ;; The other way around, below the pointer.
    (func (export "below") (param $p i32) (param $a i32) (result i32 i32)
        (local $q i32)
        (local.set $q (i32.sub (local.get $p) (i32.const 16)))
        (i32.store offset=4 (local.get $q) (local.get $a))
        (i32.store offset=20 (local.get $q) (i32.const 77))
        (i32.load offset=4 (local.get $q))
        (i32.load offset=4 (local.get $p)))

    ;; Written over, as a whole or in part, or by something at an unknown distance.
    (func (export "over") (param $p i32) (param $a i64) (param $q i32) (result i64 i64 i64)
        (i64.store (local.get $p) (local.get $a))
        (i64.store (local.get $p) (i64.const 5))
        (i64.load (local.get $p))
        (i32.store16 offset=7 (local.get $p) (i32.const 0x1234))
        (i64.load (local.get $p))
        (i64.store (local.get $p) (local.get $a))
        (i32.store8 (local.get $q) (i32.const 1))
        (i64.load (local.get $p)))

    ;; Not as what it was written.
    (func (export "types") (param $p i32) (param $a i64) (result f64 i32)
        (i64.store (local.get $p) (local.get $a))
        (f64.load (local.get $p))
        (i32.load8_u (local.get $p)))

    ;; Behind a branch, but not behind a place where ways meet, nor behind a call.
    (func (export "blocks") (param $p i32) (param $a i32) (result i32) (local $sum i32)
        (i32.store (local.get $p) (local.get $a))
        (if (local.get $a)
            (then
                (local.set $sum (i32.load (local.get $p)))
                (i32.store offset=4 (local.get $p) (i32.const 3))))
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $p))))
        (i32.store offset=8 (local.get $p) (i32.const 9))
        (call $writes (local.get $p))
        (i32.add (local.get $sum) (i32.load offset=8 (local.get $p))))
    (func $writes (param $p i32)
        (i32.store offset=8 (local.get $p) (i32.const 10)))

    ;; An array is written between, by a counter that stays within it.
    (func (export "counter") (param $p i32) (param $a i64) (result i64)
        (local $i i32) (local $sum i64)
        (loop $next
            (i64.store offset=8 (i32.add (local.get $p) (i32.const 32)) (local.get $sum))
            (i64.store (i32.add (local.get $p) (i32.const 32)) (local.get $a))
            (local.set $sum (i64.add (local.get $sum) (i64.load offset=32 (local.get $p))))
            (i64.store
                (i32.add (i32.add (local.get $p) (i32.const 64)) (local.get $i))
                (local.get $sum))
            (local.set $sum (i64.add (local.get $sum) (i64.load offset=40 (local.get $p))))
            (br_if $next (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 64))))
        (local.get $sum))

    ;; By a counter that reaches what was written.
    (func (export "reaches") (param $p i32) (param $a i64) (result i64)
        (local $i i32) (local $sum i64)
        (local.set $i (i32.const -64))
        (loop $next
            (i64.store offset=32 (local.get $p) (local.get $a))
            (i64.store
                (i32.add (i32.add (local.get $p) (i32.const 64)) (local.get $i))
                (local.get $sum))
            (local.set $sum (i64.add (local.get $sum) (i64.load offset=32 (local.get $p))))
            (br_if $next (local.tee $i (i32.add (local.get $i) (i32.const 8)))))
        (local.get $sum))

    ;; Constant addresses.
    (func (export "constants") (param $a i64) (param $i i32) (result i64 i64)
        (i64.store (i32.const 1024) (local.get $a))
        (i64.store offset=1000 (i32.const 32) (i64.const 2))
        (i32.store8 offset=2048 (i32.and (local.get $i) (i32.const 63)) (local.get $i))
        (i64.load offset=24 (i32.const 1000))
        (i64.load offset=1032 (i32.const 0)))

    ;; A memory that may be larger than 4 GiB: a sum of 32 bits is not the sum.
    (func (export "wide_pair") (param $p i32) (param $a i64) (result i64)
        (i64.store $wide offset=24 (i64.extend_i32_u (local.get $p)) (i64.const 7))
        (i64.store $wide (i64.extend_i32_u (i32.add (local.get $p) (i32.const 24))) (local.get $a))
        (i64.load $wide offset=24 (i64.extend_i32_u (local.get $p)))))
