;;! compiler_inlining = no
;; What hints say is rare is cold, and so is what is inside of it.
(module
  (func $rare)
  (func (param i32) (result i32)
    (@metadata.code.branch_hint "\00")
    (if (local.get 0)
      (then (if (local.get 0) (then (call $rare)) (else (nop)))))
    (@metadata.code.branch_hint "\01")
    (if (local.get 0) (then (nop)) (else (call $rare)))
    (block
      (@metadata.code.branch_hint "\00")
      (br_if 0 (local.get 0))
      (@metadata.code.branch_hint "\01")
      (br_if 0 (local.get 0))
      (if (local.get 0) (then (call $rare)) (else (nop))))
    (@metadata.code.branch_hint "\01")
    (if (local.get 0) (then (call $rare)))
    (loop
      (@metadata.code.branch_hint "\01")
      (br_if 0 (local.get 0)))
    (local.get 0)))
