//! Instances that were never finished leave nothing behind.

use crate::support::{
    Life, Never, SETUPS, Snapshot, assert_same, poll_once, snapshot, store, traffic,
};
use cowling::*;
use std::pin::pin;

/// Where segments go, and what the start function does, depends on what is imported.
const GUEST: &str = r#"(module
    (import "x" "data" (global $data i32)) (import "x" "elem" (global $elem i32)) (import "x" "start" (global $start i32))
    (import "x" "fail" (func $fail)) (import "x" "wait" (func $wait))
    (memory (export "memory") 8 10)
    (table (export "table") 10 20 funcref)
    (data (i32.const 100) "folded")
    (data $placed (global.get $data) "placed")
    (data (i32.const 70000) "after")
    (elem (i32.const 1) $one $two)
    (elem $list (offset (global.get $elem)) func $two $one)
    (global (export "global") (mut i32) (global.get $data))
    (global (export "constant") i64 (i64.const 3))
    (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
    (func $dirty
        (drop (memory.grow (i32.const 2))) (drop (table.grow (ref.func $one) (i32.const 5)))
        (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const 655360))
        (table.fill (i32.const 0) (ref.func $one) (i32.const 15))
        (global.set 3 (i32.const -1)))
    (func $begin
        (if (i32.eqz (global.get $start)) (then (return)))
        (call $dirty)
        (if (i32.eq (global.get $start) (i32.const 1)) (then unreachable))
        (if (i32.eq (global.get $start) (i32.const 2)) (then (call $fail)))
        (if (i32.eq (global.get $start) (i32.const 3)) (then (call $wait)))
        (if (i32.eq (global.get $start) (i32.const 4)) (then (call $begin))))
    (start $begin))"#;

/// As above, with a large image.
fn with_image() -> String {
    let image = "\\99".repeat(300 << 10);
    GUEST.replace("\"folded\"", &format!("\"{image}\""))
}

/// What a life is given: where the data and element segments go, and what the start function does.
type Given = [i32; 3];

fn imports(store: &mut Store<Life>, given: Given) -> Vec<Extern> {
    let ty = GlobalType::new(ValType::I32, Mutability::Const);
    let mut imports: Vec<Extern> = given
        .map(|value| {
            let global = Global::new(&mut *store, ty.clone(), Val::I32(value));
            global.unwrap().into()
        })
        .into();
    let fail = || -> Result<()> { bail!("host function failed") };
    imports.push(Func::wrap(&mut *store, fail).into());
    let wait = Func::wrap_async(&mut *store, |_: Caller<'_, Life>, ()| Box::new(Never));
    imports.push(wait.into());
    imports
}

/// As [`imports`], without the host having written any value.
fn imports_of_instance(store: &mut Store<Life>, given: Given) -> Vec<Extern> {
    let [data, elem, start] = given;
    let text = format!(
        r#"(module (global (export "data") i32 (i32.const {data})) (global (export "elem") i32 (i32.const {elem}))
            (global (export "start") i32 (i32.const {start})) (func (export "fail")) (func (export "wait")))"#
    );
    let module = Module::new(&store.engine().clone(), text).unwrap();
    let instance = Instance::new(&mut *store, &module, &[]).unwrap();
    ["data", "elem", "start", "fail", "wait"]
        .map(|name| instance.get_export(&mut *store, name).unwrap())
        .into()
}

const FINE: [Given; 2] = [[200_000, 5, 0], [8 * 65536 - 6, 8, 0]];

fn look(engine: &Engine, module: &Module, given: Given) -> Vec<Snapshot> {
    let mut store = store(engine, 0);
    let imports = imports(&mut store, given);
    let instance = Instance::new(&mut store, module, &imports).unwrap();
    vec![snapshot(&mut store, instance)]
}

#[test]
fn what_a_failed_instantiation_wrote_is_undone() {
    const FAILURES: [(&str, Given, bool); 6] = [
        ("data out of bounds", [8 * 65536 - 5, 5, 0], true),
        ("elements out of bounds", [200_000, 9, 0], false),
        ("start traps", [200_000, 5, 1], true),
        (
            "start calls a host function that fails",
            [200_000, 5, 2],
            true,
        ),
        ("start cannot wait", [200_000, 5, 3], true),
        ("start overflows the stack", [300_000, 7, 4], true),
    ];
    for setup in SETUPS {
        for text in [GUEST.to_string(), with_image()] {
            let fresh = FINE.map(|given| {
                let engine = setup.engine();
                look(&engine, &Module::new(&engine, &text).unwrap(), given)
            });
            let engine = setup.engine();
            let module = Module::new(&engine, &text).unwrap();
            for (name, failing, restorable) in FAILURES {
                for (given, expected) in FINE.iter().zip(&fresh) {
                    let context = format!("{}, {name}, then {given:?}", setup.name);
                    let mapped = engine.pool_metrics().mapped;
                    let mut first = store(&engine, 0);
                    let given_first = imports(&mut first, failing);
                    Instance::new(&mut first, &module, &given_first).unwrap_err();
                    // The store can be used, with what is left of the instance in it.
                    let again = imports(&mut first, *given);
                    let second = Instance::new(&mut first, &module, &again).unwrap();
                    let found = snapshot(&mut first, second);
                    assert_same(&[found], expected, &context);
                    drop(first);
                    for _ in 0..2 {
                        assert_same(&look(&engine, &module, *given), expected, &context);
                    }
                    if restorable && !setup.moves && mapped > 0 {
                        assert!(engine.pool_metrics().mapped <= mapped + 1, "{context}");
                    }
                }
            }
            assert_eq!(engine.pool_metrics().used, 0);
        }
    }
}

#[test]
fn a_start_function_that_was_not_waited_for_leaves_nothing() {
    for setup in SETUPS {
        let engine = setup.engine();
        let module = Module::new(&engine, with_image()).unwrap();
        let expected = look(&engine, &module, FINE[0]);
        for _ in 0..3 {
            let mut first = store(&engine, 0);
            let given = imports(&mut first, [200_000, 5, 3]);
            {
                let mut instantiating = pin!(Instance::new_async(&mut first, &module, &given));
                assert!(poll_once(instantiating.as_mut()).is_pending());
            }
            drop(first);
            let found = look(&engine, &module, FINE[0]);
            assert_same(&found, &expected, setup.name);
        }
        if !setup.moves {
            // What is instantiated asynchronously runs on a stack that the store has before the slot, so there are two kinds.
            assert_eq!(traffic(engine.pool_metrics()), (5, 2), "{}", setup.name);
        }
    }
}

#[test]
fn segments_whose_place_is_imported_go_where_each_life_says() {
    for setup in SETUPS {
        let engine = setup.engine();
        // Without start function: no guest runs.
        let text = GUEST.replace("(start $begin)", "");
        let module = Module::new(&engine, text).unwrap();
        for round in 0..20 {
            let place = 1000 + round * 20_000;
            let given = [place, round % 8, 0];
            {
                // Nobody uses this one: its segments are all that was written.
                let mut unused = store(&engine, 0);
                let places = [300_000 - place / 2, 7 - round % 8, 0];
                let elsewhere = imports_of_instance(&mut unused, places);
                Instance::new(&mut unused, &module, &elsewhere).unwrap();
            }
            let mut store = store(&engine, 0);
            let imports = imports_of_instance(&mut store, given);
            let instance = Instance::new(&mut store, &module, &imports).unwrap();
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            let mut expected = vec![0; 8 * 65536];
            expected[100..106].copy_from_slice(b"folded");
            expected[place as usize..place as usize + 6].copy_from_slice(b"placed");
            expected[70_000..70_005].copy_from_slice(b"after");
            assert!(memory.data(&store) == expected, "{}, {round}", setup.name);
            let table = instance.get_table(&mut store, "table").unwrap();
            for n in 0..10 {
                let element = table.get(&mut store, n).unwrap();
                let first = (round % 8) as u64;
                let listed = (1..3).contains(&n) || (first..first + 2).contains(&n);
                let is_function = matches!(element, Ref::Func(Some(_)));
                assert_eq!(is_function, listed, "{}, {round}, {n}", setup.name);
            }
        }
        // What exports the places is another module each time, whose slot may leave its space to the next.
        let metrics = engine.pool_metrics();
        let made = metrics.mapped + metrics.refitted;
        assert_eq!((metrics.reused, made), (39, 41), "{}", setup.name);
    }
}
