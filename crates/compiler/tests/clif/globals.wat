(module
  (import "env" "a" (global $imported i32))
  (import "env" "b" (global $imported_mut (mut i64)))
  (global $constant i32 (i32.const -7))
  (global $computed i32 (global.get $imported))
  (global $float f64 (f64.const 0.5))
  (global $pointer (mut i32) (i32.const 0))
  (global $vector (mut v128) (v128.const i64x2 0 0))
  (global $function (mut funcref) (ref.null func))
  (func (result i32 i64 i32 i32 f64)
    global.get $imported
    global.get $imported_mut
    global.get $constant
    global.get $computed
    global.get $float)
  (func (param i64 i32 v128)
    local.get 0
    global.set $imported_mut
    local.get 1
    global.set $pointer
    local.get 2
    global.set $vector)
  (func (result i32 v128 funcref)
    global.get $pointer
    global.get $vector
    global.get $function))
