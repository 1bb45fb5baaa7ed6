//! The guests that are measured.

/// How often [`WORK`] repeats what is too short for being interrupted.
pub const REPEATED: u64 = 20;

/// Computes and calls the host, without ever being interrupted by anything of its own.
///
/// * `fib`: recursive calls and nothing else.
/// * `sum`: a loop of as many byte loads as its argument says, the tightest loop there is.
/// * `fib repeated`, `sum repeated`: the same, [`REPEATED`] times in one call.
/// * `calls`: calls the host as often as its argument says.
pub const WORK: &str = r#"(module
    (import "host" "call" (func $call (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $fib (export "fib") (param i32) (result i32)
        (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func $sum (export "sum") (param i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum)
                (i32.load8_u (i32.and (local.get 0) (i32.const 65535)))))
            (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $sum))
    (func (export "fib repeated") (param i32) (result i32) (local $left i32)
        (local.set $left (i32.const 20))
        (loop $next
            (drop (call $fib (local.get 0)))
            (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 0))
    (func (export "sum repeated") (param i32) (result i32) (local $left i32)
        (local.set $left (i32.const 20))
        (loop $next
            (drop (call $sum (local.get 0)))
            (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 0))
    (func (export "calls") (param i32) (result i32) (local $last i32)
        (loop $next
            (local.set $last (call $call (local.get $last)))
            (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $last)))"#;

/// Tells the host that it runs, and then never returns.
pub const SPIN: &str = r#"(module
    (import "host" "running" (func $running))
    (func (export "spin") (call $running) (loop $forever (br $forever))))"#;
