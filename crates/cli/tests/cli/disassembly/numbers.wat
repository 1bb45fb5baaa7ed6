;; Arithmetic that takes more than an instruction, or less.
(module
  (func $tenth (param i32) (result i32) (i32.div_u (local.get 0) (i32.const 10)))
  (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func $remainder (param i64 i64) (result i64) (i64.rem_s (local.get 0) (local.get 1)))
  (func $times_24 (param i32) (result i32) (i32.mul (local.get 0) (i32.const 24)))
  (func $rotate (param i32) (result i32) (i32.rotl (local.get 0) (i32.const 7)))
  (func $count (param i64) (result i64) (i64.add (i64.popcnt (local.get 0)) (i64.clz (local.get 0))))
  (func $truncate (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func $truncate_sat (param f32) (result i64) (i64.trunc_sat_f32_u (local.get 0)))
  (func $larger (param f64 f64) (result f64) (f64.max (local.get 0) (local.get 1)))
  (func $convert (param i64) (result f64) (f64.convert_i64_u (local.get 0)))
  (func $absolute (param f32) (result f32) (f32.copysign (f32.abs (local.get 0)) (f32.const -1))))
