;; Small functions in place of their calls: a field is read, an arm is chosen, a loop keeps its values in registers.
(module
  (memory 1)
  (func $field (param i32) (result i32) (i32.load offset=4 (local.get 0)))
  (func $most (param i32 i32) (result i32)
    (select (local.get 0) (local.get 1) (i32.gt_s (local.get 0) (local.get 1))))
  (func $step (param i32) (result i32)
    (if (result i32) (i32.and (local.get 0) (i32.const 1))
      (then (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1)))
      (else (i32.shr_u (local.get 0) (i32.const 1)))))
  (func (export "largest") (param $node i32) (result i32)
    (call $most (call $field (local.get $node)) (call $field (call $field (local.get $node)))))
  (func (export "steps") (param $n i32) (result i32) (local $count i32)
    (loop
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if 0 (i32.ne (local.tee $n (call $step (local.get $n))) (i32.const 1))))
    (local.get $count)))
