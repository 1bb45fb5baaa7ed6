;; Objects.
(module
  (type $point (struct (field $x (mut i32)) (field $y (mut i32))))
  (type $numbers (array (mut i32)))
  (func $sum (param (ref $point)) (result i32)
    (i32.add (struct.get $point $x (local.get 0)) (struct.get $point $y (local.get 0))))
  (func $total (param $of (ref $numbers)) (result i32) (local $i i32) (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $of))))
        (local.set $sum (i32.add (local.get $sum) (array.get $numbers (local.get $of) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $sum))
  (func $is_point (param anyref) (result i32) (ref.test (ref $point) (local.get 0)))
  (func $make (param i32) (result (ref $point)) (struct.new $point (local.get 0) (i32.const 0))))
