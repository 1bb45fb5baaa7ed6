;;! spectre_mitigation = false
;; Without protection against speculation an access outside is branched away from.
(module
  (memory i64 1)
  (table 1 externref)
  (func (param i64) (result i64) (i64.load offset=8 (local.get 0)))
  (func (param i64) (result i64) (i64.load offset=0x100000000 (local.get 0)))
  (func (param i32) (result externref) (table.get (local.get 0))))
