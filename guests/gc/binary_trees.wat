;; Binary trees: many short-lived trees beside one that lives long. Everything is made anew, nothing is assigned.
;;
;; run(depth): makes a long-lived tree of that depth; then for d = 4, 6, ... up to the depth 2^(depth-d+4) trees of depth d each; returns
;; the sum of the numbers of nodes of all trees.
(module
  (type $tree (struct (field $left (ref null $tree)) (field $right (ref null $tree))))

  (func $make (param $depth i32) (result (ref $tree))
    (if (result (ref $tree)) (i32.eqz (local.get $depth))
      (then (struct.new_default $tree))
      (else
        (struct.new $tree
          (call $make (i32.sub (local.get $depth) (i32.const 1)))
          (call $make (i32.sub (local.get $depth) (i32.const 1)))))))

  (func $count (param $tree (ref null $tree)) (result i32)
    (if (result i32) (ref.is_null (struct.get $tree $left (local.get $tree)))
      (then (i32.const 1))
      (else
        (i32.add
          (i32.const 1)
          (i32.add
            (call $count (struct.get $tree $left (local.get $tree)))
            (call $count (struct.get $tree $right (local.get $tree))))))))

  (func (export "run") (param $depth i32) (result i64)
    (local $long (ref null $tree)) (local $d i32) (local $n i32) (local $sum i64)
    (local.set $long (call $make (local.get $depth)))
    (local.set $d (i32.const 4))
    (block $done
      (loop $depths
        (br_if $done (i32.gt_s (local.get $d) (local.get $depth)))
        (local.set $n (i32.shl (i32.const 1) (i32.add (i32.sub (local.get $depth) (local.get $d)) (i32.const 4))))
        (loop $trees
          (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (call $count (call $make (local.get $d))))))
          (br_if $trees (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.set $d (i32.add (local.get $d) (i32.const 2)))
        (br $depths)))
    (i64.add (local.get $sum) (i64.extend_i32_u (call $count (local.get $long)))))
)
