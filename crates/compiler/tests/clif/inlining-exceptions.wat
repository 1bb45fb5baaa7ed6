(module
  (tag $e (param i32))
  (memory 1)

  ;; What an inlined body throws is caught where the call is caught.
  (func $maybe (param i32) (if (local.get 0) (then (throw $e (local.get 0)))))
  (func (param i32) (result i32)
    (block $caught (result i32)
      (loop (try_table (catch $e $caught) (call $maybe (local.get 0))))
      (i32.const 0)))

  ;; What is thrown in a call in an inlined body is caught in the body, and by what is around it.
  (func $throws (param i32) (result i32) (i32.load (local.get 0)) (throw $e (local.get 0)))
  (func $guard (param i32 i32 i32 i32 i32 i32) (result i32)
    (block $caught (result i32)
      (try_table (result i32) (catch $e $caught) (call $throws (local.get 5)))))
  (func (param i32) (result i32)
    (loop $again (result i32)
      (block $all
        (try_table (result i32) (catch_all $all)
          (call $guard (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0)))
        (return))
      (br $again))))
