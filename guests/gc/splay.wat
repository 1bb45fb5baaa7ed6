;; A splay tree that loses an old entry for each new one: objects that live for a while, and are assigned all the time. Each entry has a
;; payload of two arrays and a struct.
;;
;; run(steps): inserts 4,000 entries with pseudo-random keys, then does so many steps of inserting one and removing the one
;; next to it; returns a sum over what is in the payloads of all entries, and the number of entries in the lower 16 bits.
(module
  (type $numbers (array (mut i32)))
  (type $payload (struct (field $first (ref $numbers)) (field $second (ref $numbers)) (field $tag i32)))
  (type $node (struct
    (field $key i32)
    (field $value (ref $payload))
    (field $left (mut (ref null $node)))
    (field $right (mut (ref null $node)))))

  (global $root (mut (ref null $node)) (ref.null $node))
  (global $seed (mut i32) (i32.const 49734321))

  (func $random (result i32)
    (global.set $seed (i32.add (i32.mul (global.get $seed) (i32.const 1103515245)) (i32.const 12345)))
    (i32.shr_u (global.get $seed) (i32.const 8)))

  (func $new_payload (param $tag i32) (result (ref $payload))
    (local $numbers (ref null $numbers)) (local $i i32)
    (local.set $numbers (array.new_default $numbers (i32.const 10)))
    (loop $fill
      (array.set $numbers (local.get $numbers) (local.get $i) (i32.add (local.get $tag) (local.get $i)))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
    (struct.new $payload
      (ref.cast (ref $numbers) (local.get $numbers))
      (array.new $numbers (local.get $tag) (i32.const 4))
      (local.get $tag)))

  ;; Brings the entry with this key, or one next to it, to the root; top-down.
  (func $splay (param $key i32)
    (local $dummy (ref null $node)) (local $left (ref null $node)) (local $right (ref null $node))
    (local $current (ref null $node)) (local $child (ref null $node))
    (if (ref.is_null (global.get $root)) (then (return)))
    (local.set $current (global.get $root))
    (local.set $dummy
      (struct.new $node (i32.const 0) (struct.get $node $value (local.get $current)) (ref.null $node) (ref.null $node)))
    (local.set $left (local.get $dummy))
    (local.set $right (local.get $dummy))
    (block $done
      (loop $next
        (if (i32.lt_s (local.get $key) (struct.get $node $key (local.get $current)))
          (then
            (local.set $child (struct.get $node $left (local.get $current)))
            (br_if $done (ref.is_null (local.get $child)))
            (if (i32.lt_s (local.get $key) (struct.get $node $key (local.get $child)))
              (then
                (struct.set $node $left (local.get $current) (struct.get $node $right (local.get $child)))
                (struct.set $node $right (local.get $child) (local.get $current))
                (local.set $current (local.get $child))
                (br_if $done (ref.is_null (struct.get $node $left (local.get $current))))))
            (struct.set $node $left (local.get $right) (local.get $current))
            (local.set $right (local.get $current))
            (local.set $current (struct.get $node $left (local.get $current)))
            (br $next)))
        (if (i32.gt_s (local.get $key) (struct.get $node $key (local.get $current)))
          (then
            (local.set $child (struct.get $node $right (local.get $current)))
            (br_if $done (ref.is_null (local.get $child)))
            (if (i32.gt_s (local.get $key) (struct.get $node $key (local.get $child)))
              (then
                (struct.set $node $right (local.get $current) (struct.get $node $left (local.get $child)))
                (struct.set $node $left (local.get $child) (local.get $current))
                (local.set $current (local.get $child))
                (br_if $done (ref.is_null (struct.get $node $right (local.get $current))))))
            (struct.set $node $right (local.get $left) (local.get $current))
            (local.set $left (local.get $current))
            (local.set $current (struct.get $node $right (local.get $current)))
            (br $next)))))
    (struct.set $node $right (local.get $left) (struct.get $node $left (local.get $current)))
    (struct.set $node $left (local.get $right) (struct.get $node $right (local.get $current)))
    (struct.set $node $left (local.get $current) (struct.get $node $right (local.get $dummy)))
    (struct.set $node $right (local.get $current) (struct.get $node $left (local.get $dummy)))
    (global.set $root (local.get $current)))

  ;; Inserts an entry with a new key, which it returns.
  (func $insert (result i32)
    (local $key i32) (local $node (ref null $node))
    (loop $again
      (local.set $key (call $random))
      (call $splay (local.get $key))
      (if (ref.is_null (global.get $root))
        (then
          (global.set $root
            (struct.new $node (local.get $key) (call $new_payload (local.get $key)) (ref.null $node) (ref.null $node)))
          (return (local.get $key))))
      (br_if $again (i32.eq (struct.get $node $key (global.get $root)) (local.get $key))))
    (local.set $node
      (struct.new $node (local.get $key) (call $new_payload (local.get $key)) (ref.null $node) (ref.null $node)))
    (if (i32.gt_s (local.get $key) (struct.get $node $key (global.get $root)))
      (then
        (struct.set $node $left (local.get $node) (global.get $root))
        (struct.set $node $right (local.get $node) (struct.get $node $right (global.get $root)))
        (struct.set $node $right (global.get $root) (ref.null $node)))
      (else
        (struct.set $node $right (local.get $node) (global.get $root))
        (struct.set $node $left (local.get $node) (struct.get $node $left (global.get $root)))
        (struct.set $node $left (global.get $root) (ref.null $node))))
    (global.set $root (local.get $node))
    (local.get $key))

  ;; Removes the entry with the greatest key below this one, or this one itself if there is none.
  (func $remove_below (param $key i32)
    (local $victim (ref null $node)) (local $rest (ref null $node))
    (call $splay (local.get $key))
    (local.set $victim (struct.get $node $left (global.get $root)))
    (if (ref.is_null (local.get $victim))
      (then
        (global.set $root (struct.get $node $right (global.get $root)))
        (return)))
    (loop $down
      (if (i32.eqz (ref.is_null (struct.get $node $right (local.get $victim))))
        (then
          (local.set $victim (struct.get $node $right (local.get $victim)))
          (br $down))))
    (call $splay (struct.get $node $key (local.get $victim)))
    (local.set $rest (struct.get $node $right (global.get $root)))
    (if (ref.is_null (struct.get $node $left (global.get $root)))
      (then (global.set $root (local.get $rest)))
      (else
        (global.set $root (struct.get $node $left (global.get $root)))
        (call $splay (local.get $key))
        (struct.set $node $right (global.get $root) (local.get $rest)))))

  (func $sum (param $node (ref null $node)) (result i64)
    (local $payload (ref null $payload)) (local $sum i64) (local $i i32)
    (loop $right
      (if (ref.is_null (local.get $node)) (then (return (local.get $sum))))
      (local.set $payload (struct.get $node $value (local.get $node)))
      (local.set $i (i32.const 0))
      (loop $numbers
        (local.set $sum (i64.add (local.get $sum)
          (i64.extend_i32_s (array.get $numbers (struct.get $payload $first (local.get $payload)) (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $numbers
          (i32.lt_u (local.get $i) (array.len (struct.get $payload $first (local.get $payload))))))
      (local.set $sum (i64.add (i64.add (local.get $sum) (i64.const 65536))
        (i64.extend_i32_s (array.get $numbers (struct.get $payload $second (local.get $payload)) (i32.const 3)))))
      (local.set $sum (i64.add (local.get $sum) (call $sum (struct.get $node $left (local.get $node)))))
      (local.set $node (struct.get $node $right (local.get $node)))
      (br $right))
    (unreachable))

  (func $count (param $node (ref null $node)) (result i32)
    (if (result i32) (ref.is_null (local.get $node))
      (then (i32.const 0))
      (else
        (i32.add (i32.const 1)
          (i32.add (call $count (struct.get $node $left (local.get $node)))
            (call $count (struct.get $node $right (local.get $node))))))))

  (func (export "run") (param $steps i32) (result i64)
    (local $i i32)
    (global.set $root (ref.null $node))
    (global.set $seed (i32.const 49734321))
    (local.set $i (i32.const 4000))
    (loop $setup
      (drop (call $insert))
      (br_if $setup (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (local.set $i (local.get $steps))
    (loop $step
      (call $remove_below (call $insert))
      (br_if $step (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (i64.or
      (i64.shl (call $sum (global.get $root)) (i64.const 16))
      (i64.extend_i32_u (call $count (global.get $root)))))
)
