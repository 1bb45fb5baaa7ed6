//! Fuel: what each operator costs, when it is taken, and when guests stop.

use crate::support::{assert_says, trap};
use cowling::*;

/// More than any of the tests uses.
const PLENTY: u64 = 1 << 40;

fn engine() -> Engine {
    Engine::new(Config::new().consume_fuel(true)).unwrap()
}

/// An instance in a store with plenty of fuel, linked with the functions of [`host`].
fn instance(wat: &str) -> (Store<u64>, Instance) {
    let engine = engine();
    let module = Module::new(&engine, wat).unwrap_or_else(|e| panic!("{wat}: {e:#}"));
    let mut linker = Linker::new(&engine);
    host(&mut linker);
    let mut store = Store::new(&engine, 0);
    store.set_fuel(PLENTY).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.set_fuel(PLENTY).unwrap();
    (store, instance)
}

fn host(linker: &mut Linker<u64>) {
    let nothing = |_: Caller<'_, u64>| {};
    linker.func_wrap("host", "nothing", nothing).unwrap();
    let look = |mut caller: Caller<'_, u64>| {
        *caller.data_mut() = caller.get_fuel()?;
        Ok(())
    };
    linker.func_wrap("host", "look", look).unwrap();
    let set = |mut caller: Caller<'_, u64>, fuel: i64| caller.set_fuel(fuel as u64);
    linker.func_wrap("host", "set", set).unwrap();
    let fail = |_: Caller<'_, u64>| -> Result<()> { bail!("no") };
    linker.func_wrap("host", "fail", fail).unwrap();
    let again = |mut caller: Caller<'_, u64>| {
        let inner = caller.get_export("inner").and_then(Extern::into_func);
        let inner = inner.unwrap().typed::<(), ()>(&caller)?;
        inner.call(&mut caller, ())
    };
    linker.func_wrap("host", "again", again).unwrap();
}

/// Module fields that the bodies of the tables below use, around the function `f` with such a body.
fn module(body: &str) -> String {
    format!(
        r#"(module
            (import "host" "nothing" (func $nothing))
            (import "host" "set" (func $set (param i64)))
            (import "host" "fail" (func $fail))
            (import "host" "again" (func $again))
            (memory 1 2)
            (table $t 4 funcref)
            (elem (table $t) (i32.const 0) func $three $recurse)
            (elem declare func $three)
            (table $e 2 externref)
            (data $d "abcd")
            (global $g (mut i32) (i32.const 0))
            (tag $tag (param i32))
            (type $empty (func))
            (func $three i32.const 1 i32.const 2 i32.add drop)
            (func $thrower (param i32) local.get 0 throw $tag)
            (func $recurse (param i32)
                (if (local.get 0)
                    (then (call $recurse (i32.sub (local.get 0) (i32.const 1))))))
            (func (export "inner") i32.const 1 drop)
            (func (export "f") (param $x i32) (local $y i32) (local $z i64) {body}))"#
    )
}

/// Calls `f` of [`module`] and returns what that cost, besides the result.
fn cost(body: &str, argument: i32) -> (u64, Result<()>) {
    let (mut store, instance) = instance(&module(body));
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    let result = f.call(&mut store, argument);
    (PLENTY - store.get_fuel().unwrap(), result)
}

#[test]
fn every_operator_costs_what_the_table_says() {
    // Body, argument, cost.
    let table: &[(&str, i32, u64)] = &[
        // Nothing.
        ("", 0, 0),
        ("nop nop nop", 0, 0),
        ("i32.const 1 drop", 0, 1),
        ("block nop end block block end end", 0, 0),
        ("loop end", 0, 0),
        ("return", 0, 0),
        ("block return end i32.const 1 drop", 0, 0),
        ("try_table end", 0, 0),
        // One each.
        ("local.get 0 local.set 1", 0, 2),
        ("local.get 0 local.tee 1 drop", 0, 2),
        ("global.get $g i32.const 1 i32.add global.set $g", 0, 4),
        ("i64.const 1 i64.clz i64.eqz i32.popcnt drop", 0, 4),
        ("f32.const 1 f32.sqrt f64.promote_f32 f64.neg drop", 0, 4),
        ("i32.const 7 i32.const 2 i32.div_s drop", 0, 3),
        ("f64.const 7 i32.trunc_f64_u drop", 0, 2),
        ("f64.const 7 i64.trunc_sat_f64_s drop", 0, 2),
        ("i32.const 0 i32.load8_u drop", 0, 2),
        ("i32.const 0 i64.const 3 i64.store offset=8", 0, 3),
        ("i32.const 1 i32.const 2 local.get 0 select drop", 0, 4),
        ("v128.const i64x2 1 2 i32x4.neg v128.any_true drop", 0, 3),
        ("memory.size drop", 0, 1),
        ("i32.const 1 memory.grow drop", 0, 2),
        ("i32.const 0 i32.const 0 i32.const 60000 memory.fill", 0, 4),
        ("i32.const 0 i32.const 9 i32.const 8 memory.copy", 0, 4),
        ("i32.const 0 i32.const 0 i32.const 4 memory.init $d", 0, 4),
        ("data.drop $d", 0, 1),
        ("table.size $t drop", 0, 1),
        ("i32.const 0 table.get $t drop", 0, 2),
        ("i32.const 3 ref.func $three table.set $t", 0, 3),
        ("i32.const 1 ref.null extern table.set $e", 0, 3),
        ("ref.null func ref.is_null drop", 0, 2),
        ("ref.null extern i32.const 1 table.grow $e drop", 0, 3),
        // Branches: one; by table: two. What is jumped over costs nothing.
        ("block br 0 end", 0, 1),
        ("block br 0 i32.const 1 drop end", 0, 1),
        ("block local.get 0 br_if 0 i32.const 1 drop end", 0, 3),
        ("block local.get 0 br_if 0 i32.const 1 drop end", 1, 2),
        ("local.get 0 if i32.const 1 drop end", 0, 2),
        ("local.get 0 if i32.const 1 drop end", 1, 3),
        ("local.get 0 if end", 1, 2),
        ("local.get 0 if return end i32.const 1 drop", 0, 3),
        ("local.get 0 if return end i32.const 1 drop", 1, 2),
        ("local.get 0 if nop else i32.const 1 drop end", 0, 3),
        ("local.get 0 if nop else i32.const 1 drop end", 1, 2),
        (
            "i32.const 5 local.get 0 if (result i32) i32.const 1 else i32.const 2 i32.const 3 i32.add end i32.sub drop",
            0,
            7,
        ),
        (
            "i32.const 5 local.get 0 if (param i32) (result i32) i32.eqz end drop",
            0,
            3,
        ),
        (
            "block local.get 0 if br 1 end i32.const 1 drop end i32.const 1 drop",
            1,
            4,
        ),
        (
            "block block block local.get 0 br_table 0 1 2 end i32.const 1 drop end i32.const 1 drop end",
            0,
            5,
        ),
        (
            "block block block local.get 0 br_table 0 1 2 end i32.const 1 drop end i32.const 1 drop end",
            1,
            4,
        ),
        (
            "block block block local.get 0 br_table 0 1 2 end i32.const 1 drop end i32.const 1 drop end",
            9,
            3,
        ),
        ("block local.get 0 br_table 0 end", 0, 3),
        (
            "block (result i32) i32.const 7 local.get 0 br_table 0 0 end drop",
            0,
            4,
        ),
        // Loops: so much each time round.
        (
            "loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end",
            10,
            50,
        ),
        (
            "loop local.get 0 if local.get 0 i32.const 1 i32.sub local.set 0 br 1 end end",
            10,
            72,
        ),
        (
            "i32.const 0 loop (param i32) i32.const 1 i32.add local.tee 1 local.get 1 local.get 0 i32.lt_u br_if 0 drop end",
            4,
            1 + 4 * 7,
        ),
        // Calls: one, with what the function executes.
        ("call $three", 0, 1 + 3),
        ("call $three call $three i32.const 1 drop", 0, 9),
        ("i32.const 0 call_indirect (type $empty)", 0, 1 + 2 + 3),
        ("i32.const 20 call $recurse", 0, 2 + 20 * 6 + 2),
        ("call $nothing", 0, 1),
        ("call $nothing i32.const 1 drop call $nothing", 0, 3),
        ("call $again", 0, 1 + 1),
        ("call $again call $again call $three", 0, 2 * 2 + 4),
        // Exceptions: the throw, and what follows in the handler's label.
        (
            "block $h (result i32) try_table (catch $tag $h) i32.const 4 throw $tag end i32.const 9 end drop i32.const 1 drop",
            0,
            3,
        ),
        (
            "block $h (result i32) try_table (catch $tag $h) i32.const 4 call $thrower end i32.const 9 end drop i32.const 1 drop",
            0,
            2 + 2 + 1,
        ),
        (
            "block $h try_table (catch_all $h) call $three end end",
            0,
            4,
        ),
        (
            "block $h (result exnref) try_table (catch_all_ref $h) i32.const 4 call $thrower end return end drop",
            0,
            2 + 2,
        ),
        // Set by a host function: what follows is taken from that.
        ("i64.const 1099511627776 call $set", 0, 0),
        ("i64.const 1099511627776 call $set call $three", 0, 4),
    ];
    for &(body, argument, expected) in table {
        let (found, result) = cost(body, argument);
        result.unwrap_or_else(|e| panic!("{body}: {e:#}"));
        assert_eq!(found, expected, "{body}, called with {argument}");
    }
}

#[test]
fn the_count_is_exact_when_a_guest_stops() {
    // Body, argument, cost: up to the operator that stopped it, included.
    let table: &[(&str, i32, u64, Trap)] = &[
        ("unreachable", 0, 0, Trap::UnreachableCodeReached),
        (
            "i32.const 1 drop unreachable i32.const 1 drop",
            0,
            1,
            Trap::UnreachableCodeReached,
        ),
        (
            "i32.const 1 local.get 0 i32.div_u drop i32.const 1 drop",
            0,
            3,
            Trap::IntegerDivisionByZero,
        ),
        (
            "f64.const nan i32.trunc_f64_s drop i32.const 1 drop",
            0,
            2,
            Trap::BadConversionToInteger,
        ),
        (
            "i32.const 1 drop local.get 0 i32.load drop i32.const 1 drop",
            -4,
            3,
            Trap::MemoryOutOfBounds,
        ),
        // The code generator makes the load a part of the addition.
        (
            "local.get 0 i32.const 1 i32.const 2 i32.add local.get 0 i32.load i32.const 5 i32.const 6 i32.sub i32.sub i32.add local.set 1 local.set 1",
            -4,
            6,
            Trap::MemoryOutOfBounds,
        ),
        (
            "local.get 0 i64.const 1 i64.store offset=65536 i32.const 1 drop",
            0,
            3,
            Trap::MemoryOutOfBounds,
        ),
        (
            "local.get 0 v128.load drop i32.const 1 drop",
            -4,
            2,
            Trap::MemoryOutOfBounds,
        ),
        (
            "local.get 0 i32.const 0 i32.const 8 memory.fill i32.const 1 drop",
            -4,
            4,
            Trap::MemoryOutOfBounds,
        ),
        (
            "local.get 0 table.get $t drop i32.const 1 drop",
            4,
            2,
            Trap::TableOutOfBounds,
        ),
        (
            "local.get 0 ref.null extern table.set $e i32.const 1 drop",
            4,
            3,
            Trap::TableOutOfBounds,
        ),
        (
            "local.get 0 call_indirect (type $empty)",
            4,
            3,
            Trap::TableOutOfBounds,
        ),
        (
            "local.get 0 call_indirect (type $empty)",
            2,
            3,
            Trap::IndirectCallToNull,
        ),
        (
            "local.get 0 call_indirect (type $empty)",
            1,
            3,
            Trap::BadSignature,
        ),
        ("ref.null exn throw_ref", 0, 2, Trap::NullReference),
        (
            "loop local.get 0 i32.const -1 i32.add local.tee 0 i32.load drop br 0 end",
            3,
            3 * 6 + 5,
            Trap::MemoryOutOfBounds,
        ),
    ];
    for (body, argument, expected, stopped) in table {
        let (found, result) = cost(body, *argument);
        assert_eq!(trap(&result.unwrap_err()), *stopped, "{body}");
        assert_eq!(found, *expected, "{body}");
    }
    let (found, result) = cost("call $three call $fail call $three", 0);
    assert_says(&result.unwrap_err(), &["no"]);
    assert_eq!(found, 5);
    let (found, result) = cost("i32.const 1 call $thrower call $three", 0);
    assert_says(&result.unwrap_err(), &["exception"]);
    assert_eq!(found, 4);
}

#[test]
fn the_count_is_exact_when_more_is_pending_than_a_trap_code_can_say() {
    for length in [1, 180, 186, 187, 200, 1000] {
        let body = "local.get 0 drop ".repeat(length) + "local.get 0 i32.load drop";
        let (found, result) = cost(&body, -4);
        assert_eq!(trap(&result.unwrap_err()), Trap::MemoryOutOfBounds);
        assert_eq!(found, length as u64 + 2);
    }
}

#[test]
fn memories_without_guards_count_the_same() {
    let engine = Engine::new(
        Config::new()
            .consume_fuel(true)
            .memory_reservation(0)
            .memory_guard_size(0),
    )
    .unwrap();
    let wat = r#"(module (memory 1)
        (func (export "f") (param i32) (result i32) local.get 0 i32.load offset=70000)
        (func (export "g") (param i32) (result i32) local.get 0 i32.load offset=9))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for (name, argument) in [("f", Val::I32(1)), ("g", Val::I32(-1))] {
        store.set_fuel(PLENTY).unwrap();
        let func = instance.get_func(&mut store, name).unwrap();
        let error = func.call(&mut store, &[argument], &mut [Val::I32(0)]);
        assert_eq!(trap(&error.unwrap_err()), Trap::MemoryOutOfBounds, "{name}");
        assert_eq!(PLENTY - store.get_fuel().unwrap(), 2, "{name}");
    }
}

#[test]
fn a_stack_overflow_keeps_the_count() {
    let (found, result) = cost("i32.const -1 call $recurse", 0);
    assert_eq!(trap(&result.unwrap_err()), Trap::StackOverflow);
    assert_eq!((found - 2) % 6, 0);
    assert!(found > 1000, "{found}");
}

#[test]
fn guests_stop_when_the_fuel_is_used_up() {
    // Without any they do not begin.
    let engine = engine();
    let wat = r#"(module
        (func (export "nothing"))
        (func (export "spin") (loop (br 0)))
        (func $f (export "recurse") (call $f))
        (func $a (export "mutual") (call $b)) (func $b (if (i32.const 1) (then (call $a)))))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let call = |store: &mut Store<()>, name: &str| {
        let func = instance.get_typed_func::<(), ()>(&mut *store, name);
        func.unwrap().call(store, ())
    };
    let error = call(&mut store, "nothing").unwrap_err();
    assert_eq!(trap(&error), Trap::OutOfFuel);
    store.set_fuel(1).unwrap();
    call(&mut store, "nothing").unwrap();
    assert_eq!(store.get_fuel().unwrap(), 1);
    for name in ["spin", "recurse", "mutual"] {
        store.set_fuel(100).unwrap();
        let error = call(&mut store, name).unwrap_err();
        assert_eq!(trap(&error), Trap::OutOfFuel, "{name}");
        assert_eq!(store.get_fuel().unwrap(), 0);
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert!(!backtrace.frames().is_empty(), "{name}");
        let error = call(&mut store, "nothing").unwrap_err();
        assert_eq!(trap(&error), Trap::OutOfFuel);
    }
    store.set_fuel(7).unwrap();
    call(&mut store, "nothing").unwrap();
}

#[test]
fn exceptions_are_no_way_around_the_fuel() {
    // Each goes round without a loop: its handler calls it again.
    for (what, round) in [
        (
            "tail call",
            "(func $f (param i32)
                (if (i32.eqz (local.get 0)) (then (return)))
                (block $h (try_table (catch $e $h) (throw $e)))
                (return_call $f (i32.sub (local.get 0) (i32.const 1))))",
        ),
        (
            "exception thrown again",
            "(func $f (param i32)
                (if (i32.eqz (local.get 0)) (then (return)))
                (block $h (try_table (catch $e $h)
                    (block $i (result exnref) (try_table (catch_all_ref $i) (throw $e)) (unreachable))
                    (throw_ref)))
                (return_call $f (i32.sub (local.get 0) (i32.const 1))))",
        ),
        (
            "calls, twice each time",
            "(func $f (param i32)
                (if (i32.eqz (local.get 0)) (then (return)))
                (block $h (try_table (catch $e $h) (throw $e)))
                (call $f (i32.shr_u (local.get 0) (i32.const 1)))
                (call $f (i32.shr_u (local.get 0) (i32.const 1))))",
        ),
    ] {
        let wat = format!(
            r#"(module (tag $e) {round} (func (export "run") (param i32) (call $f (local.get 0))))"#
        );
        let (mut store, instance) = instance(&wat);
        let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
        store.set_fuel(1000).unwrap();
        let stopped = run.call(&mut store, 100_000).unwrap_err();
        assert_eq!(trap(&stopped), Trap::OutOfFuel, "{what}");
    }
}

#[test]
fn a_loop_goes_round_as_often_as_its_fuel_allows() {
    let engine = engine();
    let wat = r#"(module (global (export "g") (mut i32) (i32.const 0))
        (func (export "count") (loop (global.set 0 (i32.add (global.get 0) (i32.const 1))) (br 0))))"#;
    let module = Module::new(&engine, wat).unwrap();
    for fuel in [1, 4, 5, 6, 10, 1001] {
        let mut store = Store::new(&engine, ());
        store.set_fuel(fuel).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let count = instance.get_typed_func::<(), ()>(&mut store, "count");
        let error = count.unwrap().call(&mut store, ()).unwrap_err();
        assert_eq!(trap(&error), Trap::OutOfFuel);
        // Five each time; a round begins if one is left.
        let rounds = instance.get_global(&mut store, "g").unwrap();
        let rounds = rounds.get(&mut store).i32().unwrap() as u64;
        assert_eq!(rounds, fuel.div_ceil(5), "fuel {fuel}");
    }
}

#[test]
fn registers_survive_a_check_that_fails_and_is_refilled() {
    // Many values of both kinds are alive around a loop whose count runs dry each time.
    let wat = r#"(module
        (import "host" "nothing" (func $nothing))
        (func (export "mix") (param $n i32) (result i64 f64)
            (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64) (local $h i64)
            (local $p f64) (local $q f64) (local $r f64) (local $s f64)
            (local.set $p (f64.const 1)) (local.set $q (f64.const 2)) (local.set $r (f64.const 3)) (local.set $s (f64.const 4))
            (loop
                (local.set $a (i64.add (local.get $a) (i64.const 1)))
                (local.set $b (i64.add (local.get $b) (local.get $a)))
                (local.set $c (i64.xor (local.get $c) (local.get $b)))
                (local.set $d (i64.sub (local.get $d) (local.get $c)))
                (local.set $e (i64.rotl (local.get $d) (i64.const 3)))
                (local.set $f (i64.mul (local.get $e) (local.get $a)))
                (local.set $h (i64.add (local.get $h) (local.get $f)))
                (local.set $p (f64.add (local.get $p) (f64.const 0.5)))
                (local.set $q (f64.mul (local.get $p) (local.get $q)))
                (local.set $r (f64.div (local.get $q) (local.get $p)))
                (local.set $s (f64.sub (local.get $s) (local.get $r)))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (i64.add (i64.add (local.get $b) (local.get $d)) (i64.add (local.get $h) (local.get $c)))
            (f64.add (local.get $q) (local.get $s))))"#;
    let run = |interval: Option<u64>| {
        let (mut store, instance) = instance(wat);
        store.fuel_async_yield_interval(interval).unwrap();
        let mix = instance.get_typed_func::<i32, (i64, f64)>(&mut store, "mix");
        let result = mix.unwrap().call(&mut store, 100).unwrap();
        (result, store.get_fuel().unwrap())
    };
    let plain = run(None);
    for interval in [1, 2, 50, 51, 1000, u64::MAX] {
        assert_eq!(run(Some(interval)), plain, "interval {interval}");
    }
}

#[test]
fn host_functions_see_and_change_the_fuel() {
    let wat = r#"(module
        (import "host" "look" (func $look))
        (import "host" "set" (func $set (param i64)))
        (func (export "look") i32.const 1 drop call $look i32.const 1 drop)
        (func (export "refill") (param $n i32)
            loop
                i64.const 20
                call $set
                local.get $n
                i32.const 1
                i32.sub
                local.tee $n
                br_if 0
            end)
        (func (export "empty") i64.const 0 call $set (loop (br 0))))"#;
    let (mut store, instance) = instance(wat);
    let look = instance.get_typed_func::<(), ()>(&mut store, "look");
    look.unwrap().call(&mut store, ()).unwrap();
    assert_eq!(*store.data(), PLENTY - 2);
    assert_eq!(store.get_fuel().unwrap(), PLENTY - 3);

    store.set_fuel(20).unwrap();
    let refill = instance.get_typed_func::<i32, ()>(&mut store, "refill");
    refill.unwrap().call(&mut store, 1000).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 20 - 5);

    store.set_fuel(PLENTY).unwrap();
    let empty = instance.get_typed_func::<(), ()>(&mut store, "empty");
    let error = empty.unwrap().call(&mut store, ()).unwrap_err();
    assert_eq!(trap(&error), Trap::OutOfFuel);
}

#[test]
fn an_exception_of_a_host_function_leaves_the_count_right() {
    let engine = engine();
    let wat = r#"(module
        (import "" "tag" (tag $t))
        (import "" "throw" (func $throw))
        (func (export "f") (param $n i32)
            loop
                block $h
                    try_table (catch $t $h)
                        call $throw
                    end
                end
                local.get $n
                i32.const 1
                i32.sub
                local.tee $n
                br_if 0
            end))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let ty = ExnType::new(&engine, []).unwrap();
    let tag = Tag::new(&mut store, &ty.tag_type()).unwrap();
    let pre = ExnRefPre::new(&mut store, ty);
    let throw = Func::wrap(
        &mut store,
        move |mut caller: Caller<'_, ()>| -> Result<()> {
            let fuel = caller.get_fuel()?;
            caller.set_fuel(fuel + 100)?;
            let exception = ExnRef::new(&mut caller, &pre, &tag, &[])?;
            caller.throw(exception)
        },
    );
    let imports = [tag.into(), throw.into()];
    let instance = Instance::new(&mut store, &module, &imports).unwrap();
    store.set_fuel(1000).unwrap();
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    f.call(&mut store, 50).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 1000 + 50 * (100 - 6));
}

#[test]
fn all_the_fuel_there_can_be_is_counted() {
    let (mut store, instance) = instance(&module("call $three"));
    store.set_fuel(u64::MAX).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX);
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    f.call(&mut store, 0).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - 4);
    store.fuel_async_yield_interval(Some(10)).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - 4);
}

#[test]
fn engines_that_do_not_count_say_so() {
    let mut store = Store::new(&Engine::default(), ());
    let errors = [
        store.set_fuel(1).unwrap_err(),
        store.get_fuel().unwrap_err(),
        store.fuel_async_yield_interval(Some(1)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            error.downcast_ref::<FuelError>(),
            Some(&FuelError::NotCounted)
        );
        assert_says(&error, &["consume_fuel"]);
    }
    let mut store = Store::new(&engine(), ());
    let error = store.fuel_async_yield_interval(Some(0)).unwrap_err();
    assert_eq!(
        error.downcast_ref::<FuelError>(),
        Some(&FuelError::ZeroInterval)
    );
}
