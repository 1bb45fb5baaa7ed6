;; Operations on ranges of memory.
(module
  (memory 1)
  (func $copy_16 (param i32 i32) (memory.copy (local.get 0) (local.get 1) (i32.const 16)))
  (func $zero_24 (param i32) (memory.fill (local.get 0) (i32.const 0) (i32.const 24)))
  (func $copy (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2))))
