;; A graph with cycles: nodes with arrays of neighbours, of two kinds behind one supertype, searched breadth first with a queue of cells.
;; Whole graphs become garbage, cycles and all.
;;
;; run(graphs): makes so many graphs of 2,000 nodes with four edges each, one after the other, and adds up the distances
;; of all nodes from the first; what is not reached counts nothing. The first graph is kept until the end, and searched again.
(module
  (rec
    (type $edges (array (mut (ref null $node))))
    (type $node (sub (struct (field $distance (mut i32)) (field $edges (ref $edges)))))
    (type $heavy (sub final $node (struct (field $distance (mut i32)) (field $edges (ref $edges)) (field $weight i32)))))
  (type $cell (struct (field $node (ref $node)) (field $next (mut (ref null $cell)))))

  (global $seed (mut i32) (i32.const 1))

  (func $random (param $below i32) (result i32)
    (global.set $seed (i32.add (i32.mul (global.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
    (i32.rem_u (i32.shr_u (global.get $seed) (i32.const 8)) (local.get $below)))

  (func $make (param $count i32) (result (ref $edges))
    (local $nodes (ref null $edges)) (local $i i32) (local $k i32) (local $edges (ref null $edges))
    (local.set $nodes (array.new_default $edges (local.get $count)))
    (loop $each
      (if (i32.rem_u (local.get $i) (i32.const 3))
        (then
          (array.set $edges (local.get $nodes) (local.get $i)
            (struct.new $node (i32.const -1) (array.new_default $edges (i32.const 4)))))
        (else
          (array.set $edges (local.get $nodes) (local.get $i)
            (struct.new $heavy (i32.const -1) (array.new_default $edges (i32.const 4)) (i32.const 2)))))
      (br_if $each (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $count))))
    (local.set $i (i32.const 0))
    (loop $connect
      (local.set $edges (struct.get $node $edges (array.get $edges (local.get $nodes) (local.get $i))))
      (local.set $k (i32.const 0))
      (loop $edge
        (array.set $edges (local.get $edges) (local.get $k)
          (array.get $edges (local.get $nodes) (call $random (local.get $count))))
        (br_if $edge (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 4))))
      (br_if $connect (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $count))))
    (ref.cast (ref $edges) (local.get $nodes)))

  ;; How much further a node's neighbours are.
  (func $weight (param $node (ref null $node)) (result i32)
    (block $plain (result (ref null $node))
      (return (struct.get $heavy $weight
        (br_on_cast_fail $plain (ref null $node) (ref $heavy) (local.get $node)))))
    (drop)
    (i32.const 1))

  (func $search (param $nodes (ref $edges)) (result i64)
    (local $first (ref null $cell)) (local $last (ref null $cell)) (local $new (ref null $cell)) (local $node (ref null $node))
    (local $neighbour (ref null $node)) (local $k i32) (local $i i32) (local $sum i64) (local $edges (ref null $edges))
    (loop $clear
      (struct.set $node $distance (array.get $edges (local.get $nodes) (local.get $i)) (i32.const -1))
      (br_if $clear (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (array.len (local.get $nodes)))))
    (local.set $node (array.get $edges (local.get $nodes) (i32.const 0)))
    (struct.set $node $distance (local.get $node) (i32.const 0))
    (local.set $first (struct.new $cell (ref.cast (ref $node) (local.get $node)) (ref.null $cell)))
    (local.set $last (local.get $first))
    (block $done
      (loop $next
        (br_if $done (ref.is_null (local.get $first)))
        (local.set $node (struct.get $cell $node (local.get $first)))
        (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (struct.get $node $distance (local.get $node)))))
        (local.set $edges (struct.get $node $edges (local.get $node)))
        (local.set $k (i32.const 0))
        (loop $edge
          (local.set $neighbour (array.get $edges (local.get $edges) (local.get $k)))
          (if (i32.lt_s (struct.get $node $distance (local.get $neighbour)) (i32.const 0))
            (then
              (struct.set $node $distance (local.get $neighbour)
                (i32.add (struct.get $node $distance (local.get $node)) (call $weight (local.get $node))))
              (local.set $new (struct.new $cell (ref.cast (ref $node) (local.get $neighbour)) (ref.null $cell)))
              (struct.set $cell $next (local.get $last) (local.get $new))
              (local.set $last (local.get $new))))
          (br_if $edge (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (array.len (local.get $edges)))))
        (local.set $first (struct.get $cell $next (local.get $first)))
        (br $next)))
    (local.get $sum))

  (func (export "run") (param $graphs i32) (result i64)
    (local $kept (ref null $edges)) (local $sum i64)
    (global.set $seed (i32.const 1))
    (local.set $kept (call $make (i32.const 2000)))
    (loop $each
      (local.set $sum (i64.add (local.get $sum) (call $search (call $make (i32.const 2000)))))
      (br_if $each (local.tee $graphs (i32.sub (local.get $graphs) (i32.const 1)))))
    (i64.add
      (i64.mul (local.get $sum) (i64.const 1000003))
      (call $search (ref.cast (ref $edges) (local.get $kept)))))
)
