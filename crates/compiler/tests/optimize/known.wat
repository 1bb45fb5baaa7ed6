(module
  (type $bytes (array (mut i8)))
  (type $base (sub (struct (field (mut i32)))))
  (type $point (sub $base (struct (field (mut i32)) (field i32))))
  (type $leaf (sub final $base (struct (field (mut i32)) (field i64))))

  (global $array (mut (ref null $bytes)) (ref.null $bytes))
  (global $object (mut anyref) (ref.null any))

  (func $make (param $len i32) (result (ref $bytes))
    (local $array (ref $bytes))
    (local.set $array (array.new $bytes (i32.const 3) (i32.and (local.get $len) (i32.const 63))))
    (if (i32.and (local.get $len) (i32.const 64)) (then (global.set $array (local.get $array))))
    (local.get $array))

  (func $choose (param $which i32) (result anyref)
    (loop (br_if 0 (i32.const 0)))
    (block (block (block (block
      (br_table 0 1 2 3 (i32.and (local.get $which) (i32.const 3))))
      (return (struct.new $point (i32.const 1) (i32.const 2))))
      (return (struct.new $leaf (i32.const 3) (i64.const 4))))
      (return (ref.i31 (local.get $which))))
    (ref.null any))

  ;; The guest's own comparison with the length is that of the access.
  (func (export "sum") (param $len i32) (result i32)
    (local $array (ref $bytes)) (local $i i32) (local $sum i32)
    (local.set $array (call $make (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $array))))
        (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $array) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $sum))

  ;; An element that is read and written, with a call in between, through a reference that may be null.
  (func (export "twice") (param $len i32) (param $i i32) (result i32)
    (local $array (ref null $bytes))
    (local.set $array (call $make (local.get $len)))
    (if (i32.and (local.get $len) (i32.const 128)) (then (local.set $array (ref.null $bytes))))
    (array.set $bytes (local.get $array) (local.get $i)
      (i32.add (array.get_u $bytes (local.get $array) (local.get $i)) (array.len (call $make (local.get $i)))))
    (array.get_s $bytes (local.get $array) (local.get $i)))

  ;; Not: another index, another array, nor behind where paths meet that did not all ask.
  (func (export "others") (param $len i32) (param $i i32) (param $j i32) (result i32)
    (local $a (ref $bytes)) (local $b (ref $bytes)) (local $sum i32)
    (local.set $a (call $make (local.get $len)))
    (local.set $b (call $make (local.get $j)))
    (if (i32.and (local.get $len) (i32.const 256))
      (then (local.set $sum (array.get_u $bytes (local.get $a) (local.get $i)))))
    (i32.add (local.get $sum)
      (i32.add (array.get_u $bytes (local.get $a) (local.get $i))
        (i32.add (array.get_u $bytes (local.get $a) (local.get $j)) (array.get_u $bytes (local.get $b) (local.get $i))))))

  ;; What is in an array at first is not the same array's behind each turn.
  (func (export "changing") (param $len i32) (param $i i32) (result i32)
    (local $array (ref $bytes)) (local $sum i32)
    (local.set $array (call $make (local.get $len)))
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $array) (local.get $i))))
      (local.set $array (call $make (local.tee $len (i32.sub (local.get $len) (i32.const 1)))))
      (br_if $next (i32.and (local.get $len) (i32.const 7))))
    (local.get $sum))

  ;; A type that was tested, also as one that may be null; and what is known not to be.
  (func (export "tested") (param $which i32) (result i32)
    (local $object anyref)
    (local.set $object (call $choose (local.get $which)))
    (if (ref.test (ref $point) (local.get $object))
      (then (return (i32.add
        (struct.get $point 1 (ref.cast (ref $point) (local.get $object)))
        (struct.get $point 0 (ref.cast (ref null $point) (local.get $object)))))))
    (if (ref.test (ref $leaf) (local.get $object))
      (then (return (struct.get $leaf 0 (ref.cast (ref $leaf) (local.get $object))))))
    (if (ref.test (ref $point) (local.get $object)) (then (return (i32.const 100))))
    (if (ref.is_null (local.get $object)) (then (return (i32.const 5))))
    (i31.get_s (ref.cast (ref i31) (ref.as_non_null (local.get $object)))))

  ;; A cast tells what a later test finds, and not more: it may be of a type below.
  (func (export "cast") (param $which i32) (result i32)
    (local $object (ref null $base))
    (local.set $object (ref.cast (ref null $base) (call $choose (local.get $which))))
    (if (ref.test (ref $leaf) (local.get $object)) (then (return (i32.const 1))))
    (drop (call $make (local.get $which)))
    (struct.set $base 0 (local.get $object) (i32.const 9))
    (i32.add (ref.test (ref $leaf) (local.get $object))
      (struct.get $point 0 (ref.cast (ref $point) (local.get $object)))))

  ;; Opposites, and both of two.
  (func (export "both") (param $a i32) (param $b i32) (result i32)
    (if (i32.or (i32.eq (local.get $a) (i32.const 64)) (i32.lt_s (local.get $a) (local.get $b)))
      (then
        (if (i32.ne (local.get $a) (i32.const 64)) (then (return (i32.const 1))))
        (return (i32.const 2))))
    (if (i32.and (i32.lt_u (local.get $a) (local.get $b)) (i32.ge_s (local.get $a) (local.get $b)))
      (then
        (if (i32.le_u (local.get $b) (local.get $a)) (then (return (i32.const 3))))
        (return (i32.const 4))))
    (if (i32.lt_u (local.get $a) (local.get $b)) (then (return (i32.const 5))))
    (i32.const 6))

  ;; A counter that begins at 0 and goes on by one is below the length as a signed number and as another.
  (func (export "signed") (param $len i32) (result i32)
    (local $array (ref $bytes)) (local $i i32) (local $sum i32)
    (local.set $array (call $make (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_s (local.get $i) (array.len (local.get $array))))
        (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $array) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $sum))

  ;; Not: what begins anywhere, what goes on by more, and what goes on without having been compared.
  (func (export "anywhere") (param $len i32) (param $i i32) (result i32)
    (local $array (ref $bytes)) (local $sum i32)
    (local.set $array (call $make (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_s (local.get $i) (array.len (local.get $array))))
        (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $array) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $sum))
  (func (export "further") (param $len i32) (param $step i32) (result i32)
    (local $array (ref $bytes)) (local $i i32) (local $sum i32)
    (local.set $array (call $make (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_s (local.get $i) (array.len (local.get $array))))
        (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $array) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 0x7ffffff8)))
        (br $next)))
    (local.get $sum))
  (func (export "unasked") (param $len i32) (result i32)
    (local $array (ref $bytes)) (local $i i32) (local $sum i32) (local $turns i32)
    (local.set $array (call $make (local.get $len)))
    (local.set $i (i32.const 0x7ffffffd))
    (loop $next
      (if (i32.lt_s (local.get $i) (array.len (local.get $array)))
        (then (local.set $sum (i32.add (local.get $sum) (array.get_u $bytes (local.get $array) (local.get $i))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.tee $turns (i32.add (local.get $turns) (i32.const 1))) (i32.const 8))))
    (local.get $sum))
)
