;;! wasm_branch_hinting = false
;; Nothing is cold when hints are not heeded.
(module
  (func (param i32) (result i32)
    (@metadata.code.branch_hint "\00")
    (if (local.get 0) (then (nop)))
    (local.get 0)))
