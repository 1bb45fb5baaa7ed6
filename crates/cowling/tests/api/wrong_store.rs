//! Every handle used with another store: an error, or an empty answer; never a panic.

use crate::support::assert_says;
use cowling::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One of everything.
struct Things {
    store: Store<()>,
    instance: Instance,
    func: Func,
    memory: Memory,
    table: Table,
    global: Global,
    tag: Tag,
    object: Rooted<ExternRef>,
}

fn things(engine: &Engine) -> Things {
    let mut store = Store::new(engine, ());
    let module = Module::new(
        engine,
        r#"(module (func (export "func") (param i32)) (memory (export "memory") 1)
            (table (export "table") 2 funcref) (global (export "global") (mut i32) (i32.const 3))
            (tag (export "tag") (param i32)))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let Some(Extern::Tag(tag)) = instance.get_export(&mut store, "tag") else {
        panic!("no tag");
    };
    Things {
        func: instance.get_func(&mut store, "func").unwrap(),
        memory: instance.get_memory(&mut store, "memory").unwrap(),
        table: instance.get_table(&mut store, "table").unwrap(),
        global: instance.get_global(&mut store, "global").unwrap(),
        object: ExternRef::new(&mut store, 1).unwrap(),
        tag,
        instance,
        store,
    }
}

#[track_caller]
fn refused<V>(result: Result<V>) {
    match result {
        Ok(_) => panic!("accepted in another store"),
        Err(error) => assert_says(&error, &["store"]),
    }
}

#[test]
fn things_of_another_store_are_refused_by_everything() {
    let engine = Engine::default();
    let a = things(&engine);
    let Things {
        mut store,
        func: own_func,
        table: own_table,
        global: own_global,
        ..
    } = things(&engine);
    let store = &mut store;

    // Functions.
    let Things { func, .. } = a;
    refused(func.call(&mut *store, &[Val::I32(1)], &mut []));
    refused(func.typed::<i32, ()>(&*store));
    let typed = func.typed::<i32, ()>(&a.store).unwrap();
    refused(typed.call(&mut *store, 1));
    assert_eq!(func.ty(&*store).to_string(), "(func)");
    assert!(!func.matches_ty(&*store, &func.ty(&a.store)));
    refused(Val::FuncRef(Some(func)).ty(&*store));

    // Memories.
    let Things { memory, .. } = a;
    assert!(memory.read(&*store, 0, &mut [0]).is_err());
    assert!(memory.write(&mut *store, 0, &[0]).is_err());
    refused(memory.grow(&mut *store, 1));
    assert_eq!((memory.size(&*store), memory.data_size(&*store)), (0, 0));
    assert!(memory.data(&*store).is_empty() && memory.data_mut(&mut *store).is_empty());
    assert!(memory.data_and_store_mut(&mut *store).0.is_empty());
    assert!(memory.data_ptr(&*store).is_null());
    assert_eq!(memory.ty(&*store).to_string(), "(memory 0 0)");
    assert_eq!(memory.page_size(&*store), 65536);

    // Tables.
    let Things { table, .. } = a;
    assert!(table.get(&mut *store, 0).is_none());
    assert_eq!(table.size(&*store), 0);
    assert_eq!(table.ty(&*store).to_string(), "(table 0 0 funcref)");
    refused(table.set(&mut *store, 0, Ref::Func(None)));
    refused(table.grow(&mut *store, 1, Ref::Func(None)));
    refused(table.fill(&mut *store, 0, Ref::Func(None), 1));
    refused(Table::copy(&mut *store, &table, 0, &own_table, 0, 1));
    refused(Table::copy(&mut *store, &own_table, 0, &table, 0, 1));

    // Globals.
    let Things { global, .. } = a;
    assert_eq!(global.get(&mut *store).unwrap_i32(), 0);
    assert_eq!(global.ty(&*store).to_string(), "(global i32)");
    refused(global.set(&mut *store, Val::I32(1)));

    // Instances.
    let Things { instance, .. } = a;
    assert!(instance.get_export(&mut *store, "func").is_none());
    assert!(instance.get_func(&mut *store, "func").is_none());
    assert!(instance.get_memory(&mut *store, "memory").is_none());
    assert_eq!(instance.exports(&mut *store).len(), 0);
    assert!(
        instance
            .get_typed_func::<i32, ()>(&mut *store, "func")
            .is_err()
    );
    let module = catch_unwind(AssertUnwindSafe(|| instance.module(&*store).name()));
    assert!(module.is_err(), "as documented");
    let export = instance.module(&a.store).get_export_index("func").unwrap();
    assert!(instance.get_module_export(&mut *store, &export).is_none());
    refused(Linker::new(&engine).instance(&mut *store, "m", instance));

    // Tags.
    assert_eq!(a.tag.ty(&*store).to_string(), "(tag)");

    // References.
    let Things { object, .. } = a;
    refused(object.data(&*store));
    refused(object.data_mut(&mut *store));
    refused(object.to_owned_rooted(&mut *store));
    let mut a_store = a.store;
    let owned = object.to_owned_rooted(&mut a_store).unwrap();
    let rooted = catch_unwind(AssertUnwindSafe(|| owned.to_rooted(&mut *store)));
    assert!(rooted.is_err(), "as documented");
    refused(owned.data(&*store));

    // As values, imports and definitions.
    let takes_func = Func::wrap(&mut *store, |_: Option<Func>| {});
    let takes_object = Func::wrap(&mut *store, |_: Option<Rooted<ExternRef>>| {});
    refused(takes_func.call(&mut *store, &[func.into()], &mut []));
    refused(takes_object.call(&mut *store, &[object.into()], &mut []));
    refused(
        takes_func
            .typed::<Option<Func>, ()>(&*store)
            .unwrap()
            .call(&mut *store, Some(func)),
    );
    refused(
        takes_object
            .typed::<Option<Rooted<ExternRef>>, ()>(&*store)
            .unwrap()
            .call(&mut *store, Some(object)),
    );
    refused(own_table.set(&mut *store, 0, func.into()));
    refused(own_table.fill(&mut *store, 0, func.into(), 1));
    refused(own_table.grow(&mut *store, 1, func.into()));
    refused(Table::new(
        &mut *store,
        TableType::new(RefType::FUNCREF, 1, None),
        func.into(),
    ));
    let ty = GlobalType::new(ValType::FUNCREF, Mutability::Var);
    refused(Global::new(&mut *store, ty.clone(), func.into()));
    let funcref = Global::new(&mut *store, ty, own_func.into()).unwrap();
    refused(funcref.set(&mut *store, func.into()));
    assert!(own_global.set(&mut *store, Val::I32(5)).is_ok());
    for (item, import) in [
        (Extern::from(func), "(func (param i32))"),
        (memory.into(), "(memory 1)"),
        (table.into(), "(table 1 funcref)"),
        (global.into(), "(global (mut i32))"),
        (a.tag.into(), "(tag (param i32))"),
    ] {
        let module =
            Module::new(&engine, format!(r#"(module (import "m" "f" {import}))"#)).unwrap();
        let error = Instance::new(&mut *store, &module, std::slice::from_ref(&item)).unwrap_err();
        assert_says(&error, &["\"m\".\"f\"", "another store"]);
        let mut linker = Linker::new(&engine);
        refused(linker.define(&*store, "m", "f", item.clone()));
        linker.define(&a_store, "m", "f", item).unwrap();
        assert_says(
            &linker.instantiate(&mut *store, &module).unwrap_err(),
            &["\"m\".\"f\"", "another store"],
        );
        linker.instantiate(&mut a_store, &module).unwrap();
    }
}

#[test]
fn what_a_host_function_returns_must_be_of_its_store() {
    let engine = Engine::default();
    let Things { func, object, .. } = things(&engine);
    let mut store = Store::new(&engine, ());
    let returns_func = Func::wrap(&mut store, move || Some(func));
    let returns_object = Func::wrap(&mut store, move || Some(object));
    let module = Module::new(
        &engine,
        r#"(module (import "" "f" (func $f (result funcref))) (import "" "x" (func $x (result externref)))
            (func (export "f") (drop (call $f))) (func (export "x") (drop (call $x))))"#,
    )
    .unwrap();
    let imports = [returns_func.into(), returns_object.into()];
    let instance = Instance::new(&mut store, &module, &imports).unwrap();
    for name in ["f", "x"] {
        let f = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        refused(f.call(&mut store, ()));
    }
    refused(returns_func.call(&mut store, &[], &mut [Val::I32(0)]));
}

#[test]
fn handles_of_a_dropped_store_are_refused_by_its_successor() {
    let engine = Engine::default();
    for _ in 0..20 {
        let Things {
            store,
            func,
            memory,
            ..
        } = things(&engine);
        drop(store);
        let mut store = things(&engine).store;
        refused(func.call(&mut store, &[Val::I32(1)], &mut []));
        assert!(memory.data(&store).is_empty());
    }
}
