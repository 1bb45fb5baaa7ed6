(module
  ;; A comparison's result is not extended where only zero or not matters.
  (func (param i32 i32) (result i32)
    local.get 0
    local.get 1
    local.get 0
    local.get 1
    i32.lt_s
    select)
  (func (param i32) (result i32)
    local.get 0
    i32.const -1
    i32.eq)
  (func (param f64) (result i32 i32)
    local.get 0
    i32.trunc_f64_s
    local.get 0
    i32.trunc_sat_f64_u)
  (func (param i32 i32) (result i32 i32)
    local.get 0
    local.get 1
    i32.div_s
    local.get 0
    local.get 1
    i32.rem_s)
  (func (param i64) (result i64 f64)
    local.get 0
    i64.extend8_s
    local.get 0
    f64.reinterpret_i64))
