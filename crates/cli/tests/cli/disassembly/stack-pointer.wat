;;! compiler_inlining = no
;; What C compilers make of a function with variables in memory.
(module
  (memory 1)
  (global $stack (mut i32) (i32.const 65536))
  (func $callee (param i32) (i32.store (local.get 0) (i32.const 1)))
  (func $caller (result i32) (local $frame i32) (local $result i32)
    (global.set $stack (local.tee $frame (i32.sub (global.get $stack) (i32.const 16))))
    (i64.store (local.get $frame) (i64.const 0))
    (call $callee (i32.add (local.get $frame) (i32.const 8)))
    (local.set $result (i32.add (i32.load (local.get $frame)) (i32.load offset=8 (local.get $frame))))
    (global.set $stack (i32.add (local.get $frame) (i32.const 16)))
    (local.get $result)))
