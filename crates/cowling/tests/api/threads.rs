//! What may be shared and what may move.

use crate::support::{instance, run, trap};
use cowling::*;
use std::thread;

#[test]
fn what_is_shared_is_sync_and_what_moves_is_send() {
    fn shared<V: Send + Sync + Clone + 'static>() {}
    fn moves<V: Send + 'static>() {}
    shared::<Engine>();
    shared::<EngineWeak>();
    shared::<Config>();
    shared::<Module>();
    shared::<ModuleExport>();
    shared::<Linker<()>>();
    shared::<InstancePre<()>>();
    // Whatever the store's data is.
    shared::<Linker<std::rc::Rc<i32>>>();
    shared::<InstancePre<std::rc::Rc<i32>>>();
    shared::<Instance>();
    shared::<Func>();
    shared::<TypedFunc<i32, (i32, Option<Func>)>>();
    shared::<Memory>();
    shared::<Table>();
    shared::<Global>();
    shared::<Tag>();
    shared::<Extern>();
    shared::<Val>();
    shared::<Rooted<ExternRef>>();
    shared::<OwnedRooted<ExternRef>>();
    moves::<Store<()>>();
    moves::<Store<std::cell::Cell<i32>>>();
    moves::<WasmBacktrace>();
}

#[test]
fn a_store_works_on_whichever_thread_has_it() {
    let (mut store, instance) = instance(
        r#"(module (global $g (mut i32) (i32.const 0)) (memory 1)
            (func (export "add") (result i32)
                (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))
            (func (export "trap") (drop (i32.load (i32.const -1))))
            (func $endless (export "endless") (call $endless)))"#,
    );
    let add = instance
        .get_typed_func::<(), i32>(&mut store, "add")
        .unwrap();
    for expected in 1..10 {
        store = thread::spawn(move || {
            assert_eq!(add.call(&mut store, ()).unwrap(), expected);
            let error = run(&mut store, &instance, "trap").unwrap_err();
            assert_eq!(trap(&error), Trap::MemoryOutOfBounds);
            let error = run(&mut store, &instance, "endless").unwrap_err();
            assert_eq!(trap(&error), Trap::StackOverflow);
            store
        })
        .join()
        .unwrap();
    }
}

#[test]
fn many_threads_instantiate_run_and_trap_at_once() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "" "next" (func $next (result i32)))
            (memory (export "m") 1) (data (i32.const 0) "\2a")
            (func (export "f") (param i32) (result i32)
                (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (call $next)))
                (i32.div_u (i32.load8_u (i32.const 0)) (local.get 0))))"#,
    )
    .unwrap();
    let mut linker = Linker::<i32>::new(&engine);
    linker
        .func_wrap("", "next", |mut caller: Caller<'_, i32>| {
            *caller.data_mut() += 1;
            *caller.data()
        })
        .unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut store = Store::new(&engine, 0);
                    let instance = pre.instantiate(&mut store).unwrap();
                    let f = instance
                        .get_typed_func::<i32, i32>(&mut store, "f")
                        .unwrap();
                    assert_eq!(f.call(&mut store, 1).unwrap(), 43);
                    assert_eq!(f.call(&mut store, 1).unwrap(), 45);
                    assert_eq!(
                        trap(&f.call(&mut store, 0).unwrap_err()),
                        Trap::IntegerDivisionByZero
                    );
                }
            });
        }
    });
}

#[test]
fn modules_are_compiled_loaded_and_dropped_on_many_threads_while_others_trap() {
    let engine = Engine::default();
    thread::scope(|scope| {
        for t in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for i in 0..30 {
                    let n = t * 1000 + i;
                    let wat = format!(
                        r#"(module (func (export "f") (param i32) (result i32) (i32.div_s (i32.const {n}) (local.get 0))))"#
                    );
                    let module = Module::new(engine, wat).unwrap();
                    let mut store = Store::new(engine, ());
                    let instance = Instance::new(&mut store, &module, &[]).unwrap();
                    drop(module);
                    let f = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
                    assert_eq!(f.call(&mut store, 1).unwrap(), n);
                    assert_eq!(trap(&f.call(&mut store, 0).unwrap_err()), Trap::IntegerDivisionByZero);
                }
            });
        }
    });
}

#[test]
fn owned_references_may_be_dropped_on_another_thread() {
    let mut store = Store::<()>::default();
    let owned = {
        let mut scope = RootScope::new(&mut store);
        let object = ExternRef::new(&mut scope, 5).unwrap();
        object.to_owned_rooted(&mut scope).unwrap()
    };
    let clone = owned.clone();
    thread::spawn(move || drop(owned)).join().unwrap();
    store.gc(None).unwrap();
    let object = clone.to_rooted(&mut store);
    assert_eq!(
        object.data(&store).unwrap().unwrap().downcast_ref(),
        Some(&5)
    );
}
