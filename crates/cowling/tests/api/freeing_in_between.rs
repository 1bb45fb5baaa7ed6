//! Nothing is freed in the middle of something: between the look at a handle and its use, or while the call hook runs.

use cowling::*;

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text).unwrap()
}

fn limited(engine: &Engine, limits: StoreLimitsBuilder) -> Store<StoreLimits> {
    let mut store = Store::new(engine, limits.build());
    store.limiter(|limits| limits);
    store
}

fn functions(store: impl AsContextMut, len: u32) -> Table {
    let ty = TableType::new(RefType::FUNCREF, len, None);
    Table::new(store, ty, Ref::Func(None)).unwrap()
}

#[track_caller]
fn kept(removal: Result<Removal>) {
    assert!(!removal.unwrap().is_freed());
}

#[track_caller]
fn is_removed(error: &Error) {
    let text = format!("{error:#}");
    assert!(text.contains("has been removed from its store"), "{text}");
}

#[test]
fn shared_memories_that_an_instance_imports_are_not_freed_to_make_room_for_it() {
    let engine = Engine::default();
    let shared = || Extern::from(SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap());
    let go = |memory: u32| {
        format!(
            r#"(func (export "go") (result i32) (i32.store {memory} (i32.const 4) (i32.const 7)) (i32.load {memory} (i32.const 4)))"#
        )
    };
    let fails = module(
        &engine,
        r#"(module (import "" "a" (memory 1 2 shared)) (import "" "b" (global i32)))"#,
    );
    for (text, imported) in [
        // Its own memory is made after the other was brought into the store.
        (
            format!(
                r#"(module (import "" "a" (memory 1 2 shared)) (memory 1) {})"#,
                go(0)
            ),
            1,
        ),
        // One is brought after the other.
        (
            format!(
                r#"(module (import "" "a" (memory 1 2 shared)) (import "" "b" (memory 1 2 shared)) {})"#,
                go(0)
            ),
            2,
        ),
        (
            format!(
                r#"(module (import "" "a" (memory 1 2 shared)) (import "" "b" (memory 1 2 shared)) {})"#,
                go(1)
            ),
            2,
        ),
    ] {
        let guest = module(&engine, &text);
        for (limit, fits) in [(1, false), (2, true)] {
            let mut store = limited(&engine, StoreLimitsBuilder::new().memories(limit));
            for _ in 0..4 {
                // Leaves a memory that nobody imports.
                let func = Func::wrap(&mut store, || {});
                let error = Instance::new(&mut store, &fails, &[shared(), func.into()]);
                assert!(error.unwrap_err().is::<LinkError>());
                let imports: Vec<_> = (0..imported).map(|_| shared()).collect();
                let made = Instance::new(&mut store, &guest, &imports);
                if !fits {
                    let error = made.unwrap_err();
                    assert!(error.is::<InstantiateError>(), "{text}: {error:?}");
                    continue;
                }
                let instance = made.unwrap();
                let go = instance.get_typed_func::<(), i32>(&mut store, "go");
                assert_eq!(go.unwrap().call(&mut store, ()).unwrap(), 7, "{text}");
                assert!(instance.remove(&mut store).unwrap().is_freed());
            }
        }
    }
}

#[test]
fn what_is_freed_to_make_room_for_an_instance_is_not_imported_by_it() {
    let engine = Engine::default();
    let gives = module(
        &engine,
        r#"(module (func (export "f")) (table (export "t") 1 funcref) (memory (export "m") 1)
            (global (export "g") (mut i32) (i32.const 5)) (tag (export "e")))"#,
    );
    let passes = module(
        &engine,
        r#"(module
            (import "" "f" (func $f)) (import "" "t" (table $t 1 funcref)) (import "" "m" (memory $m 1))
            (import "" "g" (global $g (mut i32))) (import "" "e" (tag $e))
            (export "f" (func $f)) (export "t" (table $t)) (export "m" (memory $m)) (export "g" (global $g)) (export "e" (tag $e))
            (func (export "own")))"#,
    );
    for (name, import) in [
        ("f", "(func)"),
        ("t", "(table 1 funcref)"),
        ("m", "(memory 1)"),
        ("g", "(global (mut i32))"),
        ("e", "(tag)"),
    ] {
        let mut store = limited(&engine, StoreLimitsBuilder::new().instances(2));
        let holder = functions(&mut store, 1);
        let giver = Instance::new(&mut store, &gives, &[]).unwrap();
        let exports =
            ["f", "t", "m", "g", "e"].map(|name| giver.get_export(&mut store, name).unwrap());
        let passer = Instance::new(&mut store, &passes, &exports).unwrap();
        let own = passer.get_func(&mut store, "own").unwrap();
        holder.set(&mut store, 0, Ref::Func(Some(own))).unwrap();
        kept(giver.remove(&mut store));
        // Good, as it was had after the removal; and what keeps it is gone before it is used.
        let export = passer.get_export(&mut store, name).unwrap();
        kept(passer.remove(&mut store));
        holder.set(&mut store, 0, Ref::Func(None)).unwrap();

        let wants = format!(r#"(module (import "a" "b" {import}))"#);
        let wants = module(&engine, &wants);
        let error = Instance::new(&mut store, &wants, &[export]).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(LinkError::Removed { module, field, .. }) if module == "a" && field == "b"),
            "{name}: {error:?}"
        );
        // Both are gone.
        for _ in 0..2 {
            Instance::new(&mut store, &gives, &[]).unwrap();
        }
    }
}

#[test]
fn what_is_freed_to_make_room_for_a_table_is_not_put_into_it() {
    let engine = Engine::default();
    let gives = module(
        &engine,
        r#"(module (table 1 funcref) (memory 1) (func (export "f")))"#,
    );
    let limits = StoreLimitsBuilder::new().tables(2).memories(1);
    let mut store = limited(&engine, limits);
    let holder = functions(&mut store, 1);
    let unreached = |store: &mut Store<StoreLimits>| {
        let giver = Instance::new(&mut *store, &gives, &[]).unwrap();
        let f = giver.get_func(&mut *store, "f").unwrap();
        holder.set(&mut *store, 0, Ref::Func(Some(f))).unwrap();
        kept(giver.remove(&mut *store));
        let Some(Ref::Func(Some(f))) = holder.get(&mut *store, 0) else {
            panic!("the element is gone")
        };
        holder.set(&mut *store, 0, Ref::Func(None)).unwrap();
        f
    };
    let f = unreached(&mut store);
    let ty = TableType::new(RefType::FUNCREF, 1, None);
    is_removed(&Table::new(&mut store, ty, Ref::Func(Some(f))).unwrap_err());
    let table = functions(&mut store, 1);
    assert!(table.remove(&mut store).unwrap().is_freed());

    let f = unreached(&mut store);
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    is_removed(&f.call(&mut store, &[], &mut []).unwrap_err());
    assert!(memory.remove(&mut store).unwrap().is_freed());
}

#[test]
fn what_was_kept_can_be_removed_again_through_a_handle_from_after_the_removal() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let holder = functions(&mut store, 1);
    let f = Func::wrap(&mut store, || 3i32);
    holder.set(&mut store, 0, Ref::Func(Some(f))).unwrap();
    let mut handles = vec![f];
    for _ in 0..3 {
        let last = handles[handles.len() - 1];
        kept(last.remove(&mut store));
        for handle in &handles {
            is_removed(&handle.remove(&mut store).unwrap_err());
            is_removed(&handle.typed::<(), i32>(&store).unwrap_err());
        }
        let Some(Ref::Func(Some(again))) = holder.get(&mut store, 0) else {
            panic!("the element is gone")
        };
        let typed = again.typed::<(), i32>(&store).unwrap();
        assert_eq!(typed.call(&mut store, ()).unwrap(), 3);
        handles.push(again);
    }
    holder.set(&mut store, 0, Ref::Func(None)).unwrap();
    let last = handles[handles.len() - 1];
    assert!(last.remove(&mut store).unwrap().is_freed());
}

/// What a hook does, once, at a transition.
struct Plan {
    limits: StoreLimits,
    at: CallHook,
    remove: Option<Instance>,
}

#[test]
fn a_call_hook_that_removes_what_is_called_passed_or_returned_does_so_after_the_call() {
    const CALLEE: &str = r#"(module
        (type $box (struct (field i32) (field funcref)))
        (type $three (func (result i32)))
        (memory 1) (data (i32.const 8) "\2a")
        (table $t 1 funcref)
        (func $load (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "self") (result funcref) (ref.func $load))
        (func (export "run") (param funcref) (result i32)
            (table.set $t (i32.const 0) (local.get 0))
            (call_indirect $t (type $three) (i32.const 0))
            (table.set $t (i32.const 0) (ref.null func)))
        (func (export "box") (result anyref) (struct.new $box (i32.const 6) (ref.func $load)))
        (func (export "pass") (param funcref) (result funcref) (local.get 0)))"#;
    type Call = fn(&mut Store<Plan>, Instance, Func);
    let calls: [(&str, Call); 7] = [
        ("a typed function", |store, callee, _| {
            let load = callee.get_typed_func::<i32, i32>(&mut *store, "load");
            assert_eq!(load.unwrap().call(store, 8).unwrap(), 42);
        }),
        ("a function", |store, callee, _| {
            let load = callee.get_func(&mut *store, "load").unwrap();
            let mut result = [Val::I32(0)];
            load.call(store, &[Val::I32(8)], &mut result).unwrap();
            assert_eq!(result[0].i32(), Some(42));
        }),
        ("a typed argument", |store, callee, three| {
            let run = callee.get_typed_func::<Option<Func>, i32>(&mut *store, "run");
            assert_eq!(run.unwrap().call(store, Some(three)).unwrap(), 3);
        }),
        ("an argument", |store, callee, three| {
            let run = callee.get_func(&mut *store, "run").unwrap();
            let mut result = [Val::I32(0)];
            let arguments = [Val::FuncRef(Some(three))];
            run.call(store, &arguments, &mut result).unwrap();
            assert_eq!(result[0].i32(), Some(3));
        }),
        ("a typed result", |store, callee, three| {
            let pass = callee.get_typed_func::<Option<Func>, Option<Func>>(&mut *store, "pass");
            let three = pass.unwrap().call(&mut *store, Some(three)).unwrap();
            let three = three.unwrap().typed::<(), i32>(&*store).unwrap();
            assert_eq!(three.call(store, ()).unwrap(), 3);
        }),
        ("a result", |store, callee, _| {
            let own = callee.get_func(&mut *store, "self").unwrap();
            let mut result = [Val::I32(0)];
            own.call(&mut *store, &[], &mut result).unwrap();
            let load = result[0].unwrap_funcref().unwrap();
            let load = load.typed::<i32, i32>(&*store).unwrap();
            assert_eq!(load.call(store, 8).unwrap(), 42);
        }),
        ("an object", |store, callee, _| {
            let mut scope = RootScope::new(store);
            let make = callee.get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut scope, "box");
            let object = make.unwrap().call(&mut scope, ()).unwrap().unwrap();
            let object = object.unwrap_struct(&scope).unwrap();
            assert_eq!(object.field(&mut scope, 0).unwrap().i32(), Some(6));
        }),
    ];
    let engine = Engine::default();
    let other = module(
        &engine,
        r#"(module (memory 1) (data (i32.const 0) "\03") (func (export "three") (result i32) (i32.load (i32.const 0))))"#,
    );
    let callee = module(&engine, CALLEE);
    for (what, call) in calls {
        for at in [CallHook::CallingWasm, CallHook::ReturningFromWasm] {
            for remove_callee in [true, false] {
                let plan = Plan {
                    limits: StoreLimitsBuilder::new().instances(3).build(),
                    at,
                    remove: None,
                };
                let mut store = Store::new(&engine, plan);
                store.limiter(|plan| &mut plan.limits);
                // The stack that calls run on is in the slot of the first.
                Instance::new(&mut store, &other, &[]).unwrap();
                let other_one = Instance::new(&mut store, &other, &[]).unwrap();
                let callee_one = Instance::new(&mut store, &callee, &[]).unwrap();
                let three = other_one.get_func(&mut store, "three").unwrap();
                store.data_mut().remove = Some(match remove_callee {
                    true => callee_one,
                    false => other_one,
                });
                store.call_hook(|mut store, hook| {
                    if hook == store.data().at
                        && let Some(instance) = store.data_mut().remove.take()
                    {
                        let removal = instance.remove(&mut store)?;
                        assert_eq!(removal, Removal::Kept(Holder::Interrupted));
                        store.gc(None)?;
                    }
                    Ok(())
                });
                call(&mut store, callee_one, three);
                assert!(store.data().remove.is_none(), "{what} {at:?}");
                // Then it goes, and only it.
                Instance::new(&mut store, &other, &[]).unwrap();
                let error = Instance::new(&mut store, &other, &[]).unwrap_err();
                assert!(error.is::<InstantiateError>(), "{what} {at:?}: {error:?}");
            }
        }
    }
}
