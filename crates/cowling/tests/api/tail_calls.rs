//! Tail calls as the host sees them: they take no stack and leave no frame, whatever else happens meanwhile.

use crate::support::{assert_says, instance, linked, run, trap};
use cowling::*;

/// Names of the functions in an error's backtrace, innermost first.
fn frames(error: &Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map_or(&[][..], WasmBacktrace::frames);
    frames
        .iter()
        .map(|frame| frame.func_name().unwrap_or("?").to_string())
        .collect()
}

#[test]
fn a_function_that_called_in_tail_position_is_not_in_backtraces() {
    let (mut store, instance) = instance(
        r#"(module
            (type $f (func (param i32)))
            (table funcref (elem $traps))
            (elem declare func $traps)
            (func $traps (type $f) (if (local.get 0) (then unreachable)))
            (func $direct (type $f) (return_call $traps (local.get 0)))
            (func $indirect (type $f) (return_call_indirect (type $f) (local.get 0) (i32.const 0)))
            (func $ref (type $f) (return_call_ref $f (local.get 0) (ref.func $traps)))
            (func $calls_direct (export "direct") (call $direct (i32.const 1)))
            (func $calls_indirect (export "indirect") (call $indirect (i32.const 1)))
            (func $calls_ref (export "ref") (call $ref (i32.const 1)))
            (func $outermost (export "outermost") (return_call $direct (i32.const 1)))
            (func $none (export "none") (return_call $direct (i32.const 0))))"#,
    );
    for (name, expected) in [
        ("direct", &["traps", "calls_direct"][..]),
        ("indirect", &["traps", "calls_indirect"]),
        ("ref", &["traps", "calls_ref"]),
        ("outermost", &["traps"]),
    ] {
        let error = run(&mut store, &instance, name).unwrap_err();
        assert_eq!(frames(&error), expected, "{name}");
        assert_eq!(trap(&error), Trap::UnreachableCodeReached);
    }
    run(&mut store, &instance, "none").unwrap();
}

const HOST: &str = r#"(module
    (import "host" "f" (func $host (param i32) (result i32)))
    (import "host" "many" (func $many (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32 i64)))
    (func $middle (param i32) (result i32) (return_call $host (local.get 0)))
    (func $outer (export "outer") (param i32) (result i32)
        (i32.add (call $middle (local.get 0)) (i32.const 1)))
    (func (export "at once") (param i32) (result i32) (return_call $host (local.get 0)))
    (func $through_shim (param i32) (result i32 i64)
        (return_call $many (local.get 0) (i32.const 2) (i32.const 3) (i32.const 4)
            (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8)))
    (func (export "shim") (param $n i32) (result i64) (local $sum i64)
        (loop $again
            (call $through_shim (local.get $n))
            (local.set $sum (i64.add (local.get $sum)))
            (drop)
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

fn with_host(
    f: impl Fn(Caller<'_, ()>, i32) -> Result<i32> + Send + Sync + 'static,
) -> (Store<()>, Instance) {
    let many = |a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32| {
        (a, i64::from(a + b + c + d + e + f + g + h))
    };
    linked(HOST, |linker| {
        linker.func_wrap("host", "f", f).unwrap();
        linker.func_wrap("host", "many", many).unwrap();
    })
    .unwrap()
}

#[test]
fn a_host_function_may_be_called_in_tail_position() {
    let (mut store, instance) = with_host(|mut caller, n| {
        assert!(caller.get_export("outer").is_some());
        match n {
            0 => bail!("no"),
            n => Ok(n * 2),
        }
    });
    for (name, more) in [("outer", 1), ("at once", 0)] {
        let f = instance
            .get_typed_func::<i32, i32>(&mut store, name)
            .unwrap();
        assert_eq!(f.call(&mut store, 21).unwrap(), 42 + more);
        let error = f.call(&mut store, 0).unwrap_err();
        assert_says(&error, &["no"]);
        let expected: &[&str] = if more == 1 { &["outer"] } else { &[] };
        assert_eq!(frames(&error), expected, "{name}");
        // The same, called dynamically.
        let mut results = [Val::I32(0)];
        let f = instance.get_func(&mut store, name).unwrap();
        f.call(&mut store, &[Val::I32(5)], &mut results).unwrap();
        assert_eq!(results[0].unwrap_i32(), 10 + more);
    }
    let shim = instance
        .get_typed_func::<i32, i64>(&mut store, "shim")
        .unwrap();
    let n: i64 = 100_000;
    let expected = n * (n + 1) / 2 + n * 35;
    assert_eq!(shim.call(&mut store, n as i32).unwrap(), expected);
}

#[test]
fn calls_back_and_forth_between_instances_take_no_stack() {
    let (mut store, first) = instance(
        r#"(module
            (type $f (func (param i64) (result i64)))
            (table (export "t") 1 funcref)
            (func (export "ping") (param i64) (result i64)
                (if (i64.eqz (local.get 0)) (then (return (i64.const 7))))
                (return_call_indirect (type $f) (i64.sub (local.get 0) (i64.const 1)) (i32.const 0))))"#,
    );
    let second = r#"(module
        (type $f (func (param i64) (result i64)))
        (import "" "t" (table 1 funcref))
        (import "" "ping" (func $ping (type $f)))
        (elem (i32.const 0) func $pong)
        (func $pong (export "pong") (type $f)
            (return_call $ping (local.get 0))))"#;
    let module = Module::new(store.engine(), second).unwrap();
    let imports = ["t", "ping"].map(|name| first.get_export(&mut store, name).unwrap());
    let second = Instance::new(&mut store, &module, &imports).unwrap();
    let pong = second
        .get_typed_func::<i64, i64>(&mut store, "pong")
        .unwrap();
    assert_eq!(pong.call(&mut store, 3_000_000).unwrap(), 7);
}

#[test]
fn an_endless_tail_recursion_ends_when_its_fuel_does() {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let wat = r#"(module (func $f (export "f") (param i32) (return_call $g (i32.const 1)))
        (func $g (param i32) (return_call $f (i32.add (local.get 0) (i32.const 1)))))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(1_000_000).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, 0).unwrap_err();
    assert_eq!(trap(&error), Trap::OutOfFuel);
    assert_eq!(store.get_fuel().unwrap(), 0);
}

#[test]
fn tail_calls_cost_what_calls_cost() {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let used = |call: &str, index: &str| {
        let wat = format!(
            r#"(module (type $f (func (param i32))) (table funcref (elem $h)) (elem declare func $h)
                (func $h (param i32))
                (func (export "f") ({call} (i32.const 1) {index})))"#
        );
        let module = Module::new(&engine, wat).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1000).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        run(&mut store, &instance, "f").unwrap();
        1000 - store.get_fuel().unwrap()
    };
    for (plain, index) in [
        ("call $h", ""),
        ("call_indirect (type $f)", "(i32.const 0)"),
        ("call_ref $f", "(ref.func $h)"),
    ] {
        let tail = format!("return_{plain}");
        assert_eq!(used(plain, index), used(&tail, index), "{plain}");
    }
}
