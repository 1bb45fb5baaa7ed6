//! Removing instances, and what the host made, from a store that lives on: what becomes of them, of handles, and of what others hold.

use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text).unwrap()
}

/// A store, its engine, and a host function that counts how often what it captured is dropped.
fn setup() -> (Engine, Store<()>) {
    let engine = Engine::default();
    let store = Store::new(&engine, ());
    (engine, store)
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[track_caller]
fn held_by_instance(removal: Removal, instance: Instance) {
    assert_eq!(removal, Removal::Kept(Holder::Instance(instance)));
}

#[test]
fn what_is_removed_and_unreached_is_freed_with_its_part_of_the_limits() {
    let engine = Engine::default();
    let mut store = Store::new(
        &engine,
        StoreLimitsBuilder::new()
            .instances(1)
            .memories(2)
            .tables(1)
            .build(),
    );
    store.limiter(|limits| limits);
    let guest = module(
        &engine,
        r#"(module (memory (export "m") 1) (memory 1) (table 3 funcref) (elem (i32.const 0) func $f)
            (func $f (export "f") (result i32) i32.const 7))"#,
    );
    for _ in 0..20 {
        let instance = Instance::new(&mut store, &guest, &[]).unwrap();
        let refused = Instance::new(&mut store, &guest, &[]).unwrap_err();
        assert!(refused.is::<InstantiateError>());
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        assert_eq!(f.call(&mut store, ()).unwrap(), 7);
        assert!(instance.remove(&mut store).unwrap().is_freed());
    }
}

#[test]
fn every_handle_to_something_removed_names_it_and_never_another_instance_in_its_place() {
    let (engine, mut store) = setup();
    let guest = module(
        &engine,
        r#"(module (memory (export "m") 1) (table (export "t") 1 funcref) (global (export "g") (mut i32) (i32.const 1))
            (tag (export "e")) (func (export "f")))"#,
    );
    let old = Instance::new(&mut store, &guest, &[]).unwrap();
    let func = old.get_func(&mut store, "f").unwrap();
    let typed = func.typed::<(), ()>(&store).unwrap();
    let memory = old.get_memory(&mut store, "m").unwrap();
    let table = old.get_table(&mut store, "t").unwrap();
    let global = old.get_global(&mut store, "g").unwrap();
    let Some(Extern::Tag(tag)) = old.get_export(&mut store, "e") else {
        panic!("no tag")
    };
    let number = old.remove(&mut store).unwrap();
    assert!(number.is_freed());
    // It takes the place of the one before.
    let new = Instance::new(&mut store, &guest, &[]).unwrap();
    assert_ne!(old, new);

    let removed = |error: Error| {
        let text = format!("{error:#}");
        assert!(text.contains("has been removed from its store"), "{text}");
        assert!(text.contains("of instance 0.0"), "{text}");
    };
    removed(func.call(&mut store, &[], &mut []).unwrap_err());
    removed(typed.call(&mut store, ()).unwrap_err());
    removed(func.typed::<(), ()>(&store).unwrap_err());
    removed(memory.grow(&mut store, 1).unwrap_err());
    removed(table.grow(&mut store, 1, Ref::Func(None)).unwrap_err());
    removed(table.set(&mut store, 0, Ref::Func(None)).unwrap_err());
    removed(global.set(&mut store, Val::I32(3)).unwrap_err());
    removed(old.get_typed_func::<(), ()>(&mut store, "f").unwrap_err());
    removed(old.remove(&mut store).unwrap_err());
    removed(func.remove(&mut store).unwrap_err());
    removed(memory.remove(&mut store).unwrap_err());
    removed(table.remove(&mut store).unwrap_err());
    removed(global.remove(&mut store).unwrap_err());
    removed(tag.remove(&mut store).unwrap_err());
    assert!(memory.data(&store).is_empty());
    assert!(memory.data_ptr(&store).is_null());
    assert!(old.get_export(&mut store, "f").is_none());
    assert_eq!(old.exports(&mut store).len(), 0);
    assert!(table.get(&mut store, 0).is_none());
    assert_eq!(memory.size(&store), 0);

    // As an argument, an element, a global's value, an import.
    let takes = module(
        &engine,
        r#"(module (import "a" "b" (func)) (func (export "f") (param funcref)))"#,
    );
    let import = Instance::new(&mut store, &takes, &[func.into()]).unwrap_err();
    assert!(matches!(
        import.downcast_ref(),
        Some(LinkError::Removed { module, field, .. }) if module == "a" && field == "b"
    ));
    let own = Func::wrap(&mut store, || {});
    let takes = Instance::new(&mut store, &takes, &[own.into()]).unwrap();
    let takes = takes.get_func(&mut store, "f").unwrap();
    removed(
        takes
            .call(&mut store, &[Val::FuncRef(Some(func))], &mut [])
            .unwrap_err(),
    );
    let t = new.get_table(&mut store, "t").unwrap();
    removed(t.set(&mut store, 0, Ref::Func(Some(func))).unwrap_err());
}

#[test]
fn imports_tables_and_globals_keep_what_was_removed_and_their_owner_is_named() {
    let (engine, mut store) = setup();
    let gives = module(
        &engine,
        r#"(module (func (export "f") (result i32) (i32.load (i32.const 0))) (memory (export "m") 1) (data (i32.const 0) "\2a")
            (table (export "t") 1 funcref) (global (export "g") (mut i32) (i32.const 5)) (tag (export "e")))"#,
    );
    let importers = [
        (
            "f",
            r#"(module (import "" "" (func $f (result i32))) (func (export "go") (result i32) call $f))"#,
            42,
        ),
        (
            "m",
            r#"(module (import "" "" (memory 1)) (func (export "go") (result i32) (i32.load (i32.const 0))))"#,
            42,
        ),
        (
            "t",
            r#"(module (import "" "" (table 1 funcref)) (func (export "go") (result i32) table.size))"#,
            1,
        ),
        (
            "g",
            r#"(module (import "" "" (global $g (mut i32))) (func (export "go") (result i32) global.get $g))"#,
            5,
        ),
        (
            "e",
            r#"(module (import "" "" (tag $e)) (func (export "go") (result i32)
                (block (try_table (catch $e 0) (throw $e))) (i32.const 9)))"#,
            9,
        ),
    ];
    for (name, text, expected) in importers {
        let giver = Instance::new(&mut store, &gives, &[]).unwrap();
        let export = giver.get_export(&mut store, name).unwrap();
        let importer = Instance::new(&mut store, &module(&engine, text), &[export]).unwrap();
        held_by_instance(giver.remove(&mut store).unwrap(), importer);
        let go = importer
            .get_typed_func::<(), i32>(&mut store, "go")
            .unwrap();
        assert_eq!(go.call(&mut store, ()).unwrap(), expected, "{name}");
        // Both go together.
        assert!(importer.remove(&mut store).unwrap().is_freed());
    }

    // A reference in a table or global of the host's; the owner is what the host made.
    let giver = Instance::new(&mut store, &gives, &[]).unwrap();
    let f = giver.get_func(&mut store, "f").unwrap();
    let table = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 2, None),
        Ref::Func(None),
    )
    .unwrap();
    table.set(&mut store, 1, Ref::Func(Some(f))).unwrap();
    assert!(matches!(
        giver.remove(&mut store).unwrap(),
        Removal::Kept(Holder::Instance(_))
    ));
    // From there it can be had and called.
    let Some(Ref::Func(Some(again))) = table.get(&mut store, 1) else {
        panic!("the element is gone")
    };
    assert_ne!(again, f);
    let call = |store: &mut Store<()>| again.typed::<(), i32>(&*store)?.call(store, ());
    assert_eq!(call(&mut store).unwrap(), 42);
    table.set(&mut store, 1, Ref::Func(None)).unwrap();
    assert_eq!(call(&mut store).unwrap(), 42, "nothing has looked yet");
    store.gc(None).unwrap();
    let gone = call(&mut store).unwrap_err().to_string();
    assert!(gone.contains("has been removed"), "{gone}");
}

#[test]
fn instances_that_refer_to_each_other_go_together() {
    let (engine, mut store) = setup();
    let a = module(
        &engine,
        r#"(module (table (export "t") 2 funcref) (func $f (export "f")) (elem (i32.const 0) func $f))"#,
    );
    let b = module(
        &engine,
        r#"(module (import "" "t" (table 2 funcref)) (func $g) (elem (i32.const 1) func $g))"#,
    );
    let a = Instance::new(&mut store, &a, &[]).unwrap();
    let table = a.get_table(&mut store, "t").unwrap();
    let b = Instance::new(&mut store, &b, &[table.into()]).unwrap();
    held_by_instance(a.remove(&mut store).unwrap(), b);
    assert!(b.remove(&mut store).unwrap().is_freed());
    assert!(table.get(&mut store, 0).is_none());
}

#[test]
fn objects_and_exceptions_keep_functions_and_tags_and_cycles_through_them_do_not() {
    let (engine, mut store) = setup();
    let text = r#"(module
        (type $box (struct (field (mut funcref)) (field (mut externref))))
        (type $row (array (mut funcref)))
        (global $own (mut anyref) (ref.null any))
        (func $f (export "f") (result i32) i32.const 7)
        (elem declare func $f)
        (func (export "struct") (result anyref) (struct.new $box (ref.func $f) (ref.null extern)))
        (func (export "array") (result anyref) (array.new $row (ref.func $f) (i32.const 3)))
        (func (export "keep") (param anyref) (global.set $own (local.get 0)))
        (tag $e (export "e") (param i32))
        (func (export "throw") (throw $e (i32.const 1))))"#;
    let guest = module(&engine, text);
    for make in ["struct", "array"] {
        let instance = Instance::new(&mut store, &guest, &[]).unwrap();
        let keep = instance.get_func(&mut store, "keep").unwrap();
        let make = instance
            .get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, make)
            .unwrap();
        {
            let mut scope = RootScope::new(&mut store);
            let object = make.call(&mut scope, ()).unwrap();
            // Its own global refers to the object, which refers to its function.
            keep.call(&mut scope, &[Val::AnyRef(object)], &mut [])
                .unwrap();
            assert_eq!(
                instance.remove(&mut scope).unwrap(),
                Removal::Kept(Holder::Object)
            );
        }
        store.gc(None).unwrap();
        let before = Instance::new(&mut store, &guest, &[]).unwrap();
        assert!(before.remove(&mut store).unwrap().is_freed());
    }

    let instance = Instance::new(&mut store, &guest, &[]).unwrap();
    let throw = instance
        .get_typed_func::<(), ()>(&mut store, "throw")
        .unwrap();
    let error = throw.call(&mut store, ()).unwrap_err();
    assert_eq!(
        instance.remove(&mut store).unwrap(),
        Removal::Kept(Holder::Object)
    );
    let exception = store.take_pending_exception().unwrap();
    let tag = exception.tag(&mut store).unwrap();
    assert_eq!(tag.ty(&store).ty().params().len(), 1);
    drop(error);
}

#[test]
fn objects_outlive_the_instance_that_made_them() {
    let (engine, mut store) = setup();
    let text = r#"(module (type $point (struct (field i32) (field (mut (ref null $point)))))
        (func (export "make") (result anyref) (struct.new $point (i32.const 7) (struct.new $point (i32.const 8) (ref.null $point)))))"#;
    let kept = {
        // Nothing else has the module or the type.
        let guest = module(&engine, text);
        let instance = Instance::new(&mut store, &guest, &[]).unwrap();
        let make = instance
            .get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, "make")
            .unwrap();
        let object = make.call(&mut store, ()).unwrap().unwrap();
        let kept = object.to_owned_rooted(&mut store).unwrap();
        assert!(instance.remove(&mut store).unwrap().is_freed());
        kept
    };
    for round in 0..200 {
        // Types come and go meanwhile, and numbers are used again.
        let guest = module(
            &engine,
            &format!(
                "(module (type $t (array (mut i{}))) (type $u (struct {})) (func (export \"f\") (result anyref) (struct.new_default $u)))",
                if round % 2 == 0 { 32 } else { 64 },
                "(field i64)".repeat(round % 9 + 1)
            ),
        );
        let instance = Instance::new(&mut store, &guest, &[]).unwrap();
        let f = instance
            .get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, "f")
            .unwrap();
        {
            let mut scope = RootScope::new(&mut store);
            f.call(&mut scope, ()).unwrap();
        }
        assert!(instance.remove(&mut store).unwrap().is_freed());
        if round % 20 == 0 {
            store.gc(None).unwrap();
        }
    }
    let object = kept.to_rooted(&mut store);
    let object = object.unwrap_struct(&store).unwrap();
    assert_eq!(object.field(&mut store, 0).unwrap().i32(), Some(7));
    let next = object.field(&mut store, 1).unwrap();
    let next = next.any_ref().unwrap().unwrap();
    let next = next.unwrap_struct(&store).unwrap();
    assert_eq!(next.field(&mut store, 0).unwrap().i32(), Some(8));
}

#[test]
fn a_running_instance_that_its_host_function_removes_runs_to_its_end() {
    let engine = Engine::default();
    let dropped = Arc::new(AtomicUsize::new(0));
    for text in [
        // It needs nothing of itself any more when the host function returns.
        r#"(module (import "" "remove" (func $remove)) (func (export "go") call $remove))"#,
        r#"(module (import "" "remove" (func $remove)) (func (export "go") return_call $remove))"#,
        // It does.
        r#"(module (import "" "remove" (func $remove)) (memory 1) (func (export "go")
            (i32.store (i32.const 8) (i32.const 1)) call $remove (i32.store (i32.const 65532) (i32.load (i32.const 8)))
            (if (i32.ne (i32.load (i32.const 65532)) (i32.const 1)) (then unreachable))))"#,
    ] {
        let mut store = Store::new(&engine, None::<Instance>);
        let captured = Dropped(dropped.clone());
        let before = dropped.load(Relaxed);
        let counter = dropped.clone();
        let remove = move |mut caller: Caller<'_, Option<Instance>>| {
            let instance = caller.data_mut().take().unwrap();
            assert!(!instance.remove(&mut caller).unwrap().is_freed());
            // What this function has captured is there as long as it runs.
            caller.gc(None).unwrap();
            assert_eq!(counter.load(Relaxed), before);
            let _ = &captured;
        };
        let mut linker = Linker::new(&engine);
        linker.func_wrap("", "remove", remove).unwrap();
        let guest = module(&engine, text);
        let instance = linker.instantiate(&mut store, &guest).unwrap();
        drop((linker, guest));
        let go = instance.get_typed_func::<(), ()>(&mut store, "go").unwrap();
        *store.data_mut() = Some(instance);
        go.call(&mut store, ()).unwrap();
        assert!(go.call(&mut store, ()).unwrap_err().is::<Removed>());
        store.gc(None).unwrap();
        drop(engine.clone());
    }
}

#[test]
fn a_host_function_may_remove_itself_and_others_while_it_runs() {
    let (_, mut store) = setup();
    let dropped = Arc::new(AtomicUsize::new(0));
    let captured = Dropped(dropped.clone());
    let mut data = Store::new(store.engine(), None::<Func>);
    let seen = dropped.clone();
    let func = Func::wrap(&mut data, move |mut caller: Caller<'_, Option<Func>>| {
        let me = caller.data_mut().take().unwrap();
        assert_eq!(
            me.remove(&mut caller).unwrap(),
            Removal::Kept(Holder::Stack)
        );
        assert_eq!(seen.load(Relaxed), 0);
        let _ = &captured;
    });
    *data.data_mut() = Some(func);
    func.call(&mut data, &[], &mut []).unwrap();
    assert_eq!(dropped.load(Relaxed), 0);
    data.gc(None).unwrap();
    assert_eq!(dropped.load(Relaxed), 1);
    assert!(
        func.call(&mut data, &[], &mut [])
            .unwrap_err()
            .is::<Removed>()
    );

    let other = Func::wrap(&mut store, || {});
    assert!(other.remove(&mut store).unwrap().is_freed());
}

#[test]
fn what_the_host_made_can_be_removed_and_what_an_instance_defines_goes_with_it() {
    let (engine, mut store) = setup();
    for _ in 0..50 {
        let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
        let table = Table::new(
            &mut store,
            TableType::new(RefType::FUNCREF, 3, None),
            Ref::Func(None),
        )
        .unwrap();
        let ty = GlobalType::new(ValType::I32, Mutability::Var);
        let global = Global::new(&mut store, ty, Val::I32(1)).unwrap();
        let func = Func::wrap(&mut store, |a: i32| a + 1);
        let importer = module(
            &engine,
            r#"(module (import "" "" (memory 1)) (import "" "" (table 3 funcref)) (import "" "" (global (mut i32)))
                (import "" "" (func $f (param i32) (result i32)))
                (func (export "go") (result i32) (call $f (i32.const 41))))"#,
        );
        let imports = [memory.into(), table.into(), global.into(), func.into()];
        let importer = Instance::new(&mut store, &importer, &imports).unwrap();
        held_by_instance(memory.remove(&mut store).unwrap(), importer);
        held_by_instance(table.remove(&mut store).unwrap(), importer);
        held_by_instance(global.remove(&mut store).unwrap(), importer);
        held_by_instance(func.remove(&mut store).unwrap(), importer);
        let go = importer
            .get_typed_func::<(), i32>(&mut store, "go")
            .unwrap();
        assert_eq!(go.call(&mut store, ()).unwrap(), 42);
        assert!(importer.remove(&mut store).unwrap().is_freed());
    }

    let guest = module(
        &engine,
        r#"(module (memory (export "m") 1) (func (export "f")))"#,
    );
    let instance = Instance::new(&mut store, &guest, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    for error in [
        memory.remove(&mut store).unwrap_err(),
        func.remove(&mut store).unwrap_err(),
    ] {
        assert!(error.is::<RemoveError>(), "{error}");
    }
    func.call(&mut store, &[], &mut []).unwrap();
}

#[test]
fn a_host_function_that_one_instance_imports_and_another_got_from_it_lives_with_the_latter() {
    let (engine, mut store) = setup();
    let dropped = Arc::new(AtomicUsize::new(0));
    let captured = Dropped(dropped.clone());
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "h", move || {
            let _ = &captured;
            5
        })
        .unwrap();
    let first = module(
        &engine,
        r#"(module (import "" "h" (func $h (result i32))) (export "h" (func $h)))"#,
    );
    let first = linker.instantiate(&mut store, &first).unwrap();
    drop(linker);
    let second = module(
        &engine,
        r#"(module (import "" "h" (func $h (result i32))) (func (export "go") (result i32) call $h))"#,
    );
    let h = first.get_func(&mut store, "h").unwrap();
    let second = Instance::new(&mut store, &second, &[h.into()]).unwrap();
    held_by_instance(first.remove(&mut store).unwrap(), second);
    store.gc(None).unwrap();
    let go = second.get_typed_func::<(), i32>(&mut store, "go").unwrap();
    assert_eq!(go.call(&mut store, ()).unwrap(), 5);
    assert_eq!(dropped.load(Relaxed), 0);
    assert!(second.remove(&mut store).unwrap().is_freed());
    drop(store);
    drop(engine);
    assert_eq!(dropped.load(Relaxed), 1);
}

#[test]
fn an_instance_that_failed_to_start_is_gone_unless_something_refers_to_it() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, StoreLimitsBuilder::new().instances(1).build());
    store.limiter(|limits| limits);
    for text in [
        "(module (func $s unreachable) (start $s))",
        "(module (memory 1) (data (i32.const 65536) \"x\"))",
        "(module (table 1 funcref) (elem (i32.const 1) func $f) (func $f))",
    ] {
        let guest = module(&engine, text);
        for _ in 0..3 {
            let error = Instance::new(&mut store, &guest, &[]).unwrap_err();
            assert!(error.is::<Trap>(), "{error:?}");
        }
    }
    let table = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 1, None),
        Ref::Func(None),
    )
    .unwrap();
    let guest = module(
        &engine,
        r#"(module (import "" "" (table 1 funcref)) (func $f (result i32) i32.const 3) (elem (i32.const 0) func $f)
            (func $s unreachable) (start $s))"#,
    );
    Instance::new(&mut store, &guest, &[table.into()]).unwrap_err();
    let Some(Ref::Func(Some(left))) = table.get(&mut store, 0) else {
        panic!("what the segment wrote stays")
    };
    let left = left.typed::<(), i32>(&store).unwrap();
    assert_eq!(left.call(&mut store, ()).unwrap(), 3);
}

#[test]
fn a_suspended_call_keeps_its_instance_until_it_is_over() {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    let engine = Engine::default();
    let mut store = Store::new(&engine, None::<Instance>);
    let mut linker = Linker::<Option<Instance>>::new(&engine);
    linker
        .func_wrap_async(
            "",
            "wait",
            |mut caller: Caller<'_, Option<Instance>>, ()| {
                Box::new(async move {
                    let mut polled = false;
                    std::future::poll_fn(|_| match std::mem::replace(&mut polled, true) {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    })
                    .await;
                    let instance = caller.data_mut().take().unwrap();
                    let removal = instance.remove(&mut caller).unwrap();
                    assert_eq!(removal, Removal::Kept(Holder::Stack));
                })
            },
        )
        .unwrap();
    let guest = module(
        &engine,
        r#"(module (import "" "wait" (func $wait)) (memory 1) (func (export "go") (result i32)
            call $wait (i32.load8_u (i32.const 1))) (data (i32.const 1) "\05"))"#,
    );
    let instance = linker.instantiate(&mut store, &guest).unwrap();
    let go = instance
        .get_typed_func::<(), i32>(&mut store, "go")
        .unwrap();
    *store.data_mut() = Some(instance);
    {
        let mut call = pin!(go.call_async(&mut store, ()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(result) = call.as_mut().poll(&mut context) else {
            panic!("it waited twice")
        };
        assert_eq!(result.unwrap(), 5);
    }
    store.gc(None).unwrap();
    assert!(instance.remove(&mut store).unwrap_err().is::<Removed>());
}

#[test]
fn commands_leave_nothing_behind() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, StoreLimitsBuilder::new().instances(6).build());
    store.limiter(|limits| limits);
    let mut linker = Linker::new(&engine);
    let command = module(
        &engine,
        r#"(module (memory (export "memory") 1) (func (export "_start")) (func (export "three") (result i32) i32.const 3))"#,
    );
    linker.module(&mut store, "c", &command).unwrap();
    let user = module(
        &engine,
        r#"(module (import "c" "three" (func $three (result i32))) (func (export "go") (result i32) call $three))"#,
    );
    let user = linker.instantiate(&mut store, &user).unwrap();
    let go = user.get_typed_func::<(), i32>(&mut store, "go").unwrap();
    // What the host function's frames have left on the stack may keep the last few.
    for _ in 0..100 {
        assert_eq!(go.call(&mut store, ()).unwrap(), 3);
    }
}

#[test]
fn importing_one_shared_memory_after_the_other_does_not_add_up() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, StoreLimitsBuilder::new().memories(1).build());
    store.limiter(|limits| limits);
    let guest = module(
        &engine,
        r#"(module (import "" "" (memory 1 2 shared)) (func (export "go") (result i32) (i32.load (i32.const 0))))"#,
    );
    for _ in 0..10 {
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
        let instance = Instance::new(&mut store, &guest, &[memory.into()]).unwrap();
        let go = instance
            .get_typed_func::<(), i32>(&mut store, "go")
            .unwrap();
        assert_eq!(go.call(&mut store, ()).unwrap(), 0);
        assert!(instance.remove(&mut store).unwrap().is_freed());
    }
}

#[test]
fn an_instance_of_whose_frames_nothing_but_its_context_is_known_stays() {
    let (engine, mut store) = setup();
    // Has the slot with the store's stack.
    let first = module(&engine, "(module (memory 1))");
    Instance::new(&mut store, &first, &[]).unwrap();
    let removing = Arc::new(std::sync::Mutex::new(None::<Instance>));
    let remove = {
        let removing = removing.clone();
        Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| {
            let instance = removing.lock().unwrap().take().unwrap();
            let removal = instance.remove(&mut caller).unwrap();
            assert_eq!(removal, Removal::Kept(Holder::Stack));
        })
    };
    let calls = module(
        &engine,
        r#"(module (import "" "remove" (func $remove)) (func (export "call") (call $remove)))"#,
    );
    let calls = Instance::new(&mut store, &calls, &[remove.into()]).unwrap();
    let call = calls.get_func(&mut store, "call").unwrap();
    for memory in ["", "(memory i64 1)"] {
        let guest = module(
            &engine,
            &format!(
                r#"(module (import "" "call" (func $call)) {memory} (global $g (mut i32) (i32.const 7))
                    (func (export "go") (result i32) (call $call) (global.get $g)))"#
            ),
        );
        let guest = Instance::new(&mut store, &guest, &[call.into()]).unwrap();
        let go = guest.get_typed_func::<(), i32>(&mut store, "go").unwrap();
        *removing.lock().unwrap() = Some(guest);
        assert_eq!(go.call(&mut store, ()).unwrap(), 7);
    }
}
