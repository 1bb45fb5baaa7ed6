//! Call hooks: what is told, in which order, and what an error, a panic or a call in the hook does.
//!
//! Transitions are written as letters: `W` a guest is called, `w` it returns, `H` a host function is called, `h` it returns.

use crate::support::trap;
use cowling::{
    CallHook, Caller, Engine, ExternRef, Func, FuncType, Instance, Linker, Module, Region, Result,
    Rooted, Store, Trap, Val, ValType, bail,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

const GUEST: &str = r#"(module
    (import "host" "nop" (func $nop))
    (import "host" "dynamic" (func $dynamic (param i32) (result i32)))
    (import "host" "two" (func $two (result i32 i64)))
    (import "host" "nested" (func $nested))
    (import "host" "calls_host" (func $calls_host))
    (import "host" "fails" (func $fails))
    (import "host" "panics" (func $panics))
    (memory 1)
    (func (export "leaf"))
    (func (export "nop") (call $nop))
    (func (export "nop_twice") (call $nop) (call $nop))
    (func (export "dynamic") (drop (call $dynamic (i32.const 1))))
    (func (export "two") (call $two) drop drop)
    (func (export "nested") (call $nested))
    (func (export "calls_host") (call $calls_host))
    (func (export "fails") (call $fails))
    (func (export "panics") (call $panics))
    (func (export "traps") unreachable)
    (func (export "grows") (drop (memory.grow (i32.const 1)))))"#;

/// What the hook has seen, and what it shall do.
#[derive(Default)]
struct Watch {
    seen: String,
    /// At which transition it fails, counted from 0.
    fail_at: Option<usize>,
    panic_at: Option<usize>,
    leaf: Option<Func>,
}

fn letter(hook: CallHook) -> char {
    match hook {
        CallHook::CallingWasm => 'W',
        CallHook::ReturningFromWasm => 'w',
        CallHook::CallingHost => 'H',
        CallHook::ReturningFromHost => 'h',
    }
}

fn call_leaf(caller: &mut Caller<'_, Watch>) -> Result<()> {
    let Some(leaf) = caller.get_export("leaf").and_then(|e| e.into_func()) else {
        bail!("no leaf");
    };
    leaf.typed::<(), ()>(&mut *caller)?.call(caller, ())
}

fn linker(engine: &Engine) -> Linker<Watch> {
    let mut linker = Linker::new(engine);
    let dynamic = FuncType::new(engine, [ValType::I32], [ValType::I32]);
    linker.func_wrap("host", "nop", || {}).unwrap();
    linker
        .func_new("host", "dynamic", dynamic, |_, params, results| {
            results[0] = params[0];
            Ok(())
        })
        .unwrap();
    linker.func_wrap("host", "two", || (1i32, 2i64)).unwrap();
    linker
        .func_wrap("host", "nested", |mut caller: Caller<'_, Watch>| {
            call_leaf(&mut caller)
        })
        .unwrap();
    linker
        .func_wrap(
            "host",
            "calls_host",
            |mut caller: Caller<'_, Watch>| -> Result<()> {
                let func = Func::wrap(&mut caller, || {});
                func.typed::<(), ()>(&caller)?.call(&mut caller, ())
            },
        )
        .unwrap();
    linker
        .func_wrap("host", "fails", || -> Result<()> { bail!("host failed") })
        .unwrap();
    linker
        .func_wrap("host", "panics", || -> Result<()> { panic!("host panics") })
        .unwrap();
    linker
}

/// A store whose hook is told from now on, with an instance of the guest.
fn watched() -> (Store<Watch>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut store = Store::new(&engine, Watch::default());
    let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
    store.call_hook(|mut store, hook| {
        let watch = store.data_mut();
        let at = watch.seen.len();
        watch.seen.push(letter(hook));
        if watch.panic_at == Some(at) {
            panic!("hook panics");
        }
        if watch.fail_at == Some(at) {
            bail!("refused at {at}");
        }
        if let Some(leaf) = watch.leaf {
            leaf.call(&mut store, &[], &mut [])?;
        }
        Ok(())
    });
    (store, instance)
}

fn call_typed(store: &mut Store<Watch>, instance: &Instance, name: &str) -> Result<()> {
    instance
        .get_typed_func::<(), ()>(&mut *store, name)?
        .call(store, ())
}

fn call_dynamic(store: &mut Store<Watch>, instance: &Instance, name: &str) -> Result<()> {
    let func = instance.get_func(&mut *store, name).unwrap();
    func.call(store, &[], &mut [])
}

fn seen(store: &mut Store<Watch>) -> String {
    std::mem::take(&mut store.data_mut().seen)
}

#[test]
fn every_transition_is_told_once_in_order() {
    let (mut store, instance) = watched();
    for (name, expected) in [
        ("leaf", "Ww"),
        ("nop", "WHhw"),
        ("nop_twice", "WHhHhw"),
        ("dynamic", "WHhw"),
        ("two", "WHhw"),
        ("nested", "WHWwhw"),
        ("calls_host", "WHWHhwhw"),
        ("grows", "Ww"),
    ] {
        for call in [call_typed, call_dynamic] {
            call(&mut store, &instance, name).unwrap();
            assert_eq!(seen(&mut store), expected, "{name}");
        }
    }
}

#[test]
fn a_guest_that_stops_early_and_a_host_function_that_fails_return() {
    let (mut store, instance) = watched();
    for call in [call_typed, call_dynamic] {
        let error = call(&mut store, &instance, "traps").unwrap_err();
        assert_eq!(trap(&error), Trap::UnreachableCodeReached);
        assert_eq!(seen(&mut store), "Ww");
        let error = call(&mut store, &instance, "fails").unwrap_err();
        assert!(format!("{error:#}").contains("host failed"), "{error:#}");
        assert_eq!(seen(&mut store), "WHhw");
    }
}

#[test]
fn a_host_functions_panic_passes_the_hook_by() {
    let (mut store, instance) = watched();
    catch_unwind(AssertUnwindSafe(|| {
        call_typed(&mut store, &instance, "panics")
    }))
    .unwrap_err();
    assert_eq!(seen(&mut store), "WH");
    call_typed(&mut store, &instance, "nop").unwrap();
    assert_eq!(seen(&mut store), "WHhw");
}

#[test]
fn a_host_function_called_by_the_host_is_told_as_all_four() {
    let (mut store, _) = watched();
    let func = Func::wrap(&mut store, |n: i32| n + 1);
    let typed = func.typed::<i32, i32>(&store).unwrap();
    assert_eq!(typed.call(&mut store, 1).unwrap(), 2);
    assert_eq!(seen(&mut store), "WHhw");
    for (fail_at, expected) in [(0, "W"), (1, "WHw"), (2, "WHhw"), (3, "WHhw")] {
        store.data_mut().fail_at = Some(fail_at);
        let error = typed.call(&mut store, 1).unwrap_err();
        assert!(error.to_string().contains("refused at"), "{error:#}");
        assert_eq!(seen(&mut store), expected, "failing at {fail_at}");
    }
}

#[test]
fn a_start_function_is_told_of() {
    let engine = Engine::default();
    let wat =
        r#"(module (import "host" "nop" (func $nop)) (func $start (call $nop)) (start $start))"#;
    let module = Module::new(&engine, wat).unwrap();
    let pre = linker(&engine).instantiate_pre(&module).unwrap();
    let mut store = Store::new(&engine, Watch::default());
    store.call_hook(|mut store, hook| {
        store.data_mut().seen.push(letter(hook));
        Ok(())
    });
    pre.instantiate(&mut store).unwrap();
    assert_eq!(seen(&mut store), "WHhw");
}

#[test]
fn an_error_at_any_transition_is_the_calls_error_and_the_rest_is_told() {
    let (mut store, instance) = watched();
    for (name, fail_at, expected) in [
        ("nested", 0, "W"),
        ("nested", 1, "WHw"),
        ("nested", 2, "WHWhw"),
        ("nested", 3, "WHWwhw"),
        ("nested", 4, "WHWwhw"),
        ("nested", 5, "WHWwhw"),
        // In place of what happened by itself.
        ("traps", 1, "Ww"),
        ("fails", 2, "WHhw"),
        ("fails", 3, "WHhw"),
        ("two", 1, "WHw"),
        ("two", 2, "WHhw"),
        ("dynamic", 1, "WHw"),
        ("dynamic", 2, "WHhw"),
    ] {
        for call in [call_typed, call_dynamic] {
            store.data_mut().fail_at = Some(fail_at);
            let error = call(&mut store, &instance, name).unwrap_err();
            let message = format!("{error:#}");
            let refused = format!("refused at {fail_at}");
            assert!(message.contains(&refused), "{name}: {message}");
            assert_eq!(seen(&mut store), expected, "{name} failing at {fail_at}");
            store.data_mut().fail_at = None;
            call(&mut store, &instance, "nested").unwrap();
            assert_eq!(seen(&mut store), "WHWwhw", "after {name}");
        }
    }
}

#[test]
fn a_panic_at_any_transition_reaches_the_caller_and_the_hook_stays() {
    for panic_at in 0..6 {
        let (mut store, instance) = watched();
        store.data_mut().panic_at = Some(panic_at);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            call_typed(&mut store, &instance, "nested")
        }));
        let payload = panicked.unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"hook panics"), "{panic_at}");
        store.data_mut().panic_at = None;
        seen(&mut store);
        call_typed(&mut store, &instance, "nested").unwrap();
        assert_eq!(seen(&mut store), "WHWwhw", "after a panic at {panic_at}");
    }
}

#[test]
fn a_hook_that_calls_guests_is_not_told_of_that() {
    let (mut store, instance) = watched();
    store.data_mut().leaf = instance.get_func(&mut store, "nested");
    call_typed(&mut store, &instance, "nested").unwrap();
    assert_eq!(seen(&mut store), "WHWwhw");
}

#[test]
fn a_hook_that_never_stops_recursing_through_host_functions_is_stopped_by_the_stack() {
    let engine = Engine::default();
    let wat =
        r#"(module (import "host" "again" (func $again)) (func (export "run") (call $again)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "again", |mut caller: Caller<'_, u32>| {
            let run = caller.get_export("run").and_then(|e| e.into_func());
            run.unwrap().call(&mut caller, &[], &mut [])
        })
        .unwrap();
    let mut store = Store::new(&engine, 0u32);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.call_hook(|mut store, hook| {
        *store.data_mut() += u32::from(hook == CallHook::CallingWasm);
        Ok(())
    });
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(trap(&error), Trap::StackOverflow);
    assert!(*store.data() > 10);
}

#[test]
fn references_on_their_way_survive_a_hook_that_collects() {
    let engine = Engine::default();
    let wat = r#"(module
        (import "host" "pass" (func $pass (param externref) (result externref)))
        (func (export "run") (param externref) (result externref) (call $pass (local.get 0))))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap(
            "host",
            "pass",
            |mut caller: Caller<'_, ()>, given: Option<Rooted<ExternRef>>| -> Result<_> {
                assert!(given.is_some());
                Ok(Some(ExternRef::new(&mut caller, "made by the host")?))
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.call_hook(|mut store, _| {
        for n in 0..10 {
            ExternRef::new(&mut store, n)?;
        }
        store.gc(None)
    });
    let given = ExternRef::new(&mut store, 1u8).unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    let mut results = [Val::I32(0)];
    run.call(&mut store, &[Val::ExternRef(Some(given))], &mut results)
        .unwrap();
    let Val::ExternRef(Some(returned)) = results[0] else {
        panic!("no reference: {results:?}");
    };
    let value = returned.data(&store).unwrap();
    let value = value.and_then(|value| value.downcast_ref::<&str>());
    assert_eq!(value, Some(&"made by the host"));
}

#[test]
fn a_hook_set_later_takes_the_place_of_the_first() {
    let (mut store, instance) = watched();
    store.call_hook(|mut store, _| {
        store.data_mut().seen.push('!');
        Ok(())
    });
    call_typed(&mut store, &instance, "nop").unwrap();
    assert_eq!(seen(&mut store), "!!!!");
}

#[test]
fn a_guests_runs_are_told_of_but_not_its_suspensions() {
    let engine = Engine::default();
    let wat = r#"(module
        (import "host" "yield" (func $yield))
        (func $start) (start $start)
        (func (export "run") (call $yield) (call $yield)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::<Watch>::new(&engine);
    linker
        .func_wrap("host", "yield", |mut caller: Caller<'_, Watch>| {
            caller.yield_()
        })
        .unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let region = Region::builder().slots(1).build().unwrap();
    let builder = region.guest(&pre, Watch::default());
    let mut guest = builder
        .call_hook(|mut store, hook| {
            store.data_mut().seen.push(letter(hook));
            Ok(())
        })
        .build()
        .unwrap();
    for round in 0..2 {
        guest.run_start().unwrap();
        assert_eq!(guest.data().seen, "Ww", "start, round {round}");
        guest.data_mut().seen.clear();
        assert!(guest.run("run", &[]).unwrap().returned().is_none());
        assert_eq!(guest.data().seen, "WH");
        assert!(guest.resume().unwrap().returned().is_none());
        assert_eq!(guest.data().seen, "WHhH");
        assert!(guest.resume().unwrap().returned().is_some());
        assert_eq!(guest.data().seen, "WHhHhw");
        guest.data_mut().seen.clear();
        // The hook stays.
        guest.reset().unwrap();
    }
}
