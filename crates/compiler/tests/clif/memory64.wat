;;! compiler_inlining = no
;; Size and base are read at the entry and behind the call; the loads share a check, the loop has none of its own to read for.
(module
  (memory i64 1)
  (func $other)
  (func (param i64) (result i64)
    (i64.add (i64.load offset=8 (local.get 0)) (i64.load offset=16 (local.get 0)))
    (call $other)
    (i64.add (i64.load offset=0x10000 (local.get 0))))
  (func (param i64)
    (loop
      (i64.store (local.get 0) (i64.const 1))
      (local.set 0 (i64.add (local.get 0) (i64.const 8)))
      (br_if 0 (i64.ne (local.get 0) (i64.const 800)))))
  (func (result i64) (memory.grow (memory.size))))
