\ The primes below 100, factorials by recursion, and the longest Collatz chain below 30000.

variable found

: prime? ( n -- flag )
  -1 found !
  2 begin over over dup * >= found @ and while
    over over mod 0 = if 0 found ! then
    1 +
  repeat
  drop drop found @ ;

: primes ( limit -- ) 2 do i prime? if i . then loop cr ;

: factorial ( n -- n! ) dup 2 < if drop 1 else dup 1 - recurse * then ;

variable best
variable length

: collatz ( n -- steps )
  0 swap
  begin dup 1 <> while
    dup 1 and if 3 * 1 + else 2 / then
    swap 1 + swap
  repeat
  drop ;

: longest ( limit -- )
  0 length !
  1 do
    i collatz dup length @ > if length ! i best ! else drop then
  loop
  ." longest chain below 30000: " best @ . ." with " length @ . ." steps" cr ;

." primes: " 100 primes
." 20! = " 20 factorial . cr
30000 longest
