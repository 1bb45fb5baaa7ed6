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

/// What every start of a guest is measured with: a page of memory with a few bytes of data, and a table.
///
/// * `id`: returns its argument.
/// * `touch`: writes to one page of the operating system's, the one that the data is in.
/// * `touch 8`: writes to eight of them.
pub const SMALL: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 16) "hello")
    (table 16 funcref)
    (elem (i32.const 0) $id)
    (func $id (export "id") (param i32) (result i32) (local.get 0))
    (func (export "touch") (param i32) (result i32)
        (i32.store (i32.const 1024) (local.get 0))
        (i32.load (i32.const 16)))
    (func (export "touch 8") (param i32) (result i32) (local $page i32)
        (loop $next
            (i32.store offset=1024 (i32.shl (local.get $page) (i32.const 12)) (local.get 0))
            (br_if $next (i32.lt_u
                (local.tee $page (i32.add (local.get $page) (i32.const 1)))
                (i32.const 8))))
        (i32.load (i32.const 16))))"#;

/// How many bytes of data [`with_image`] has.
pub const IMAGE: usize = 1 << 20;

/// A guest with a data image of a mebibyte, none of it zero, in a memory of two.
///
/// * `touch`: writes to three pages of the image, far from each other, and to one behind it.
pub fn with_image() -> String {
    let data: String = (0..IMAGE)
        .map(|at| char::from(b'a' + (at / 7 % 26) as u8))
        .collect();
    format!(
        r#"(module
            (memory (export "memory") 32)
            (data (i32.const 0) "{data}")
            (func (export "touch") (param i32) (result i32)
                (i32.store (i32.const 1024) (local.get 0))
                (i32.store (i32.const 500000) (local.get 0))
                (i32.store (i32.const 1000000) (local.get 0))
                (i32.store (i32.const 1200000) (local.get 0))
                (i32.load (i32.const 700000))))"#
    )
}

/// A module with that many functions of some size, for measuring what takes longer the more code there is.
///
/// * `id`: returns its argument.
pub fn large(functions: usize) -> String {
    let mut text = String::from(
        r#"(module (memory 1)
            (func (export "id") (param i32) (result i32) (local.get 0))
            (func (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))"#,
    );
    for index in 0..functions {
        let callee = index / 2 + 1; // one that comes before it
        text += &format!(
            "(func (param i32 i32) (result i32) (local i32)
                (loop
                    (local.set 2 (i32.add (local.get 2)
                        (i32.load offset={index} (i32.and (local.get 0) (i32.const 1023)))))
                    (if (i32.lt_s (local.get 2) (i32.const {index}))
                        (then (local.set 2 (i32.mul (local.get 2) (local.get 1))))
                        (else (i32.store offset={callee} (i32.const 8) (local.get 2))))
                    (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (i32.add (local.get 2) (call {callee} (local.get 1) (local.get 2))))"
        );
    }
    text + ")"
}

/// Calls in every direction.
///
/// * `id`: returns its argument.
/// * `calls`, `peeks`: calls a host function as often as its argument says.
/// * `indirect`: calls, through a table, a function of another instance as often.
pub const CALLS: &str = r#"(module
    (import "host" "call" (func $call (param i32) (result i32)))
    (import "host" "peek" (func $peek (param i32) (result i32)))
    (import "other" "id" (func $other (param i32) (result i32)))
    (type $unary (func (param i32) (result i32)))
    (memory (export "memory") 1)
    (table (export "table") 1 funcref)
    (elem (i32.const 0) $other)
    (func (export "id") (param i32) (result i32) (local.get 0))
    (func (export "calls") (param i32) (result i32) (local $last i32)
        (loop $next
            (local.set $last (call $call (local.get $last)))
            (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $last))
    (func (export "peeks") (param i32) (result i32) (local $last i32)
        (loop $next
            (local.set $last (call $peek (local.get $last)))
            (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $last))
    (func (export "indirect") (param i32) (result i32) (local $last i32)
        (loop $next
            (local.set $last (call_indirect (type $unary) (local.get $last) (i32.const 0)))
            (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $last)))"#;
