;; String building: strings of bytes that are joined, cut, compared and put into a table of buckets. Arrays of all sizes, casts from the
;; most general type.
;;
;; run(rounds): each round makes 64 numbers into words, joins them to a text, splits that at its blanks, and counts the words
;; in a table; returns a hash of all texts, and how many different words there were in the lower 16 bits.
(module
  (type $string (array (mut i8)))
  (type $entry (sub (struct (field $word (ref $string)) (field $count (mut i32)) (field $next (mut anyref)))))
  (type $marked (sub $entry (struct (field $word (ref $string)) (field $count (mut i32)) (field $next (mut anyref)) (field $mark i64))))
  (type $table (array (mut anyref)))

  (global $words (mut (ref null $table)) (ref.null $table))
  (global $different (mut i32) (i32.const 0))

  ;; A number as decimal digits.
  (func $to_string (param $n i32) (result (ref $string))
    (local $len i32) (local $rest i32) (local $out (ref null $string))
    (local.set $rest (local.get $n))
    (loop $digits
      (local.set $len (i32.add (local.get $len) (i32.const 1)))
      (br_if $digits (local.tee $rest (i32.div_u (local.get $rest) (i32.const 10)))))
    (local.set $out (array.new_default $string (local.get $len)))
    (loop $write
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (array.set $string (local.get $out) (local.get $len)
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $write (local.get $len)))
    (ref.cast (ref $string) (local.get $out)))

  ;; Two strings, and a blank behind.
  (func $join (param $a (ref $string)) (param $b (ref $string)) (result (ref $string))
    (local $out (ref null $string)) (local $len i32)
    (local.set $len (i32.add (array.len (local.get $a)) (array.len (local.get $b))))
    (local.set $out (array.new $string (i32.const 32) (i32.add (local.get $len) (i32.const 1))))
    (array.copy $string $string (local.get $out) (i32.const 0) (local.get $a) (i32.const 0) (array.len (local.get $a)))
    (array.copy $string $string (local.get $out) (array.len (local.get $a)) (local.get $b) (i32.const 0) (array.len (local.get $b)))
    (ref.cast (ref $string) (local.get $out)))

  (func $cut (param $s (ref $string)) (param $from i32) (param $to i32) (result (ref $string))
    (local $out (ref null $string))
    (local.set $out (array.new_default $string (i32.sub (local.get $to) (local.get $from))))
    (array.copy $string $string (local.get $out) (i32.const 0) (local.get $s) (local.get $from) (i32.sub (local.get $to) (local.get $from)))
    (ref.cast (ref $string) (local.get $out)))

  (func $hash (param $s (ref $string)) (result i32)
    (local $i i32) (local $hash i32)
    (local.set $hash (i32.const 0x811c9dc5))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $s))))
        (local.set $hash
          (i32.mul (i32.xor (local.get $hash) (array.get_u $string (local.get $s) (local.get $i))) (i32.const 0x01000193)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $hash))

  (func $equal (param $a (ref $string)) (param $b (ref $string)) (result i32)
    (local $i i32)
    (if (i32.ne (array.len (local.get $a)) (array.len (local.get $b))) (then (return (i32.const 0))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $a))))
        (if (i32.ne (array.get_u $string (local.get $a) (local.get $i)) (array.get_u $string (local.get $b) (local.get $i)))
          (then (return (i32.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.const 1))

  ;; Counts a word.
  (func $count (param $word (ref $string))
    (local $bucket i32) (local $at anyref) (local $entry (ref null $entry))
    (local.set $bucket (i32.and (call $hash (local.get $word)) (i32.const 1023)))
    (local.set $at (array.get $table (global.get $words) (local.get $bucket)))
    (block $end
      (loop $next
        (br_if $end (ref.is_null (local.get $at)))
        (local.set $entry (ref.cast (ref $entry) (local.get $at)))
        (if (call $equal (struct.get $entry $word (local.get $entry)) (local.get $word))
          (then
            (struct.set $entry $count (local.get $entry) (i32.add (struct.get $entry $count (local.get $entry)) (i32.const 1)))
            (return)))
        (local.set $at (struct.get $entry $next (local.get $entry)))
        (br $next)))
    (global.set $different (i32.add (global.get $different) (i32.const 1)))
    (if (i32.and (local.get $bucket) (i32.const 1))
      (then
        (array.set $table (global.get $words) (local.get $bucket)
          (struct.new $marked (local.get $word) (i32.const 1) (array.get $table (global.get $words) (local.get $bucket))
            (i64.extend_i32_u (local.get $bucket)))))
      (else
        (array.set $table (global.get $words) (local.get $bucket)
          (struct.new $entry (local.get $word) (i32.const 1) (array.get $table (global.get $words) (local.get $bucket)))))))

  ;; The sum of all counts; of marked entries twice.
  (func $total (result i64)
    (local $i i32) (local $at anyref) (local $sum i64)
    (loop $buckets
      (local.set $at (array.get $table (global.get $words) (local.get $i)))
      (block $end
        (loop $next
          (br_if $end (ref.is_null (local.get $at)))
          (local.set $sum (i64.add (local.get $sum)
            (i64.extend_i32_u (struct.get $entry $count (ref.cast (ref $entry) (local.get $at))))))
          (if (ref.test (ref $marked) (local.get $at))
            (then
              (local.set $sum (i64.add (local.get $sum)
                (i64.extend_i32_u (struct.get $entry $count (ref.cast (ref $entry) (local.get $at))))))))
          (local.set $at (struct.get $entry $next (ref.cast (ref $entry) (local.get $at))))
          (br $next)))
      (br_if $buckets
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1024))))
    (local.get $sum))

  (func (export "run") (param $rounds i32) (result i64)
    (local $i i32) (local $from i32) (local $at i32) (local $text (ref null $string)) (local $hash i32) (local $seed i32)
    (global.set $words (array.new_default $table (i32.const 1024)))
    (global.set $different (i32.const 0))
    (local.set $seed (i32.const 12345))
    (loop $round
      (local.set $text (array.new_default $string (i32.const 0)))
      (local.set $i (i32.const 64))
      (loop $append
        (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
        (local.set $text
          (call $join (ref.cast (ref $string) (local.get $text))
            (call $to_string (i32.and (i32.shr_u (local.get $seed) (i32.const 12)) (i32.const 4095)))))
        (br_if $append (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (local.set $hash (i32.xor (i32.rotl (local.get $hash) (i32.const 5)) (call $hash (ref.cast (ref $string) (local.get $text)))))
      (local.set $from (i32.const 0))
      (local.set $at (i32.const 0))
      (loop $split
        (if (i32.eq (array.get_u $string (local.get $text) (local.get $at)) (i32.const 32))
          (then
            (call $count (call $cut (ref.cast (ref $string) (local.get $text)) (local.get $from) (local.get $at)))
            (local.set $from (i32.add (local.get $at) (i32.const 1)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $split (i32.lt_u (local.get $at) (array.len (local.get $text)))))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (i64.or
      (i64.shl (i64.add (i64.extend_i32_u (local.get $hash)) (call $total)) (i64.const 16))
      (i64.extend_i32_u (global.get $different))))
)
