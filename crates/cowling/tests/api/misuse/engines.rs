//! Things of one engine, used with another.

use super::{Misuse, are_refused, ready};
use cowling::*;

/// An engine with a store and a module, and the same again.
struct World {
    engine: Engine,
    store: Store<()>,
    module: Module,
    other: Engine,
    other_store: Store<()>,
    other_module: Module,
}

const GUEST: &str = r#"(module $guest (import "host" "f" (func)) (func (export "answer") (result i32) (i32.const 42)))"#;

fn world() -> World {
    let (engine, other) = (Engine::default(), Engine::default());
    World {
        store: Store::new(&engine, ()),
        module: Module::new(&engine, GUEST).unwrap(),
        other_store: Store::new(&other, ()),
        other_module: Module::new(&other, GUEST).unwrap(),
        engine,
        other,
    }
}

fn works(world: &mut World) {
    for (store, module) in [
        (&mut world.store, &world.module),
        (&mut world.other_store, &world.other_module),
    ] {
        let instance = linker(module.engine()).instantiate(&mut *store, module);
        let answer = instance
            .unwrap()
            .get_typed_func::<(), i32>(&mut *store, "answer");
        assert_eq!(answer.unwrap().call(store, ()).unwrap(), 42);
    }
}

fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "f", || {}).unwrap();
    linker
}

fn pre(world: &World) -> InstancePre<()> {
    linker(&world.other)
        .instantiate_pre(&world.other_module)
        .unwrap()
}

fn shared_memory(engine: &Engine) -> SharedMemory {
    SharedMemory::new(engine, MemoryType::shared(1, 2)).unwrap()
}

fn struct_type(engine: &Engine) -> StructType {
    let field = FieldType::new(Mutability::Var, StorageType::ValType(ValType::I32));
    StructType::new(engine, [field]).unwrap()
}

fn array_type(engine: &Engine) -> ArrayType {
    ArrayType::new(engine, FieldType::new(Mutability::Var, StorageType::I8))
}

#[test]
fn things_of_another_engine_are_refused() {
    let misuses: &[Misuse<World>] = &[
        (
            "a module, instantiated",
            |w| Instance::new(&mut w.store, &w.other_module, &[]).map(drop),
            &["module", "another engine than the store"],
        ),
        (
            "a module, instantiated by an asynchronous call",
            |w| ready(Instance::new_async(&mut w.store, &w.other_module, &[])).map(drop),
            &["module", "another engine than the store"],
        ),
        (
            "a module, prepared by a linker",
            |w| linker(&w.engine).instantiate_pre(&w.other_module).map(drop),
            &["module", "another engine than the linker"],
        ),
        (
            "a module, instantiated by a linker",
            |w| {
                linker(&w.engine)
                    .instantiate(&mut w.store, &w.other_module)
                    .map(drop)
            },
            &["module", "another engine than the linker"],
        ),
        (
            "a module, given to a linker to be a module of it",
            |w| {
                linker(&w.engine)
                    .module(&mut w.store, "m", &w.other_module)
                    .map(drop)
            },
            &["module", "another engine than the linker"],
        ),
        (
            "a linker, for a module and store of each other",
            |w| {
                linker(&w.other)
                    .instantiate(&mut w.store, &w.module)
                    .map(drop)
            },
            &["module", "another engine than the linker"],
        ),
        (
            "a linker with its module, for a store",
            |w| {
                linker(&w.other)
                    .instantiate(&mut w.store, &w.other_module)
                    .map(drop)
            },
            &["module", "another engine than the store"],
        ),
        (
            "a linker with its module, for a store, by an asynchronous call",
            |w| {
                let linker = linker(&w.other);
                ready(linker.instantiate_async(&mut w.store, &w.other_module)).map(drop)
            },
            &["module", "another engine than the store"],
        ),
        (
            "a prepared instance",
            |w| pre(w).instantiate(&mut w.store).map(drop),
            &["module", "another engine than the store"],
        ),
        (
            "a prepared instance, by an asynchronous call",
            |w| ready(pre(w).instantiate_async(&mut w.store)).map(drop),
            &["module", "another engine than the store"],
        ),
        (
            "a function, defined in a linker",
            |w| {
                let func = Func::wrap(&mut w.other_store, || {});
                Linker::new(&w.engine)
                    .define(&w.other_store, "m", "f", func)
                    .map(drop)
            },
            &["\"m\".\"f\"", "store", "another engine than the linker"],
        ),
        (
            "an instance, defined in a linker",
            |w| {
                let instance = linker(&w.other).instantiate(&mut w.other_store, &w.other_module)?;
                Linker::new(&w.engine)
                    .instance(&mut w.other_store, "m", instance)
                    .map(drop)
            },
            &["\"m\"", "another engine"],
        ),
        (
            "a linker's default function, for a store",
            |w| linker(&w.other).get_default(&mut w.store, "host").map(drop),
            &["store", "another engine than the linker"],
        ),
        (
            "a linker's function, for a store",
            |w| linker(&w.other).get(&mut w.store, "host", "f").map(drop),
            &["store", "another engine than the linker"],
        ),
        (
            "a linker's function, for an import and a store",
            |w| {
                let linker = linker(&w.other);
                let import = w.module.imports().next().unwrap();
                assert!(linker.get_by_import(&mut w.store, &import).is_none());
                assert_eq!(linker.iter(&mut w.store).count(), 0);
                linker.try_get_by_import(&mut w.store, &import).map(drop)
            },
            &["store", "another engine than the linker"],
        ),
        (
            "a shared memory of an engine with other memories, as an import",
            |w| {
                let module = Module::new(
                    &w.engine,
                    r#"(module (import "m" "memory" (memory 1 2 shared)))"#,
                )?;
                let smaller = Engine::new(Config::new().memory_guard_size(1 << 16))?;
                let memory = shared_memory(&smaller).into();
                Instance::new(&mut w.store, &module, &[memory]).map(drop)
            },
            &[
                "(memory 1 2 shared)",
                "an engine with other settings for memories",
            ],
        ),
        (
            "an allocator of structs",
            |w| {
                let pre = StructRefPre::new(&mut w.store, struct_type(&w.other));
                StructRef::new(&mut w.store, &pre, &[Val::I32(1)]).map(drop)
            },
            &["object's type", "another engine than the store"],
        ),
        (
            "an allocator of arrays",
            |w| {
                let pre = ArrayRefPre::new(&mut w.store, array_type(&w.other));
                ArrayRef::new(&mut w.store, &pre, &Val::I32(1), 3).map(drop)
            },
            &["object's type", "another engine than the store"],
        ),
        (
            "an allocator of arrays, for given elements",
            |w| {
                let pre = ArrayRefPre::new(&mut w.store, array_type(&w.other));
                ArrayRef::new_fixed(&mut w.store, &pre, &[Val::I32(1)]).map(drop)
            },
            &["object's type", "another engine than the store"],
        ),
        (
            "an allocator of exceptions",
            |w| {
                let ty = ExnType::new(&w.other, [ValType::I32])?;
                let tag = Tag::new(&mut w.store, &ty.tag_type())?;
                let pre = ExnRefPre::new(&mut w.store, ty);
                ExnRef::new(&mut w.store, &pre, &tag, &[Val::I32(1)]).map(drop)
            },
            &["exception's type", "another engine than the store"],
        ),
        (
            "a module to be profiled",
            |w| {
                let modules = [("guest".to_string(), w.other_module.clone())];
                let interval = std::time::Duration::from_millis(1);
                GuestProfiler::new(&w.engine, "profile", interval, modules).map(drop)
            },
            &["`guest`", "another engine"],
        ),
    ];
    are_refused(world, works, misuses);
}

/// Numbers of types are an engine's own: a function that a linker has by its type would be one of another type elsewhere.
#[test]
fn a_linkers_functions_are_never_of_another_type_in_a_store_of_another_engine() {
    let w = world();
    let mut linker = Linker::<()>::new(&w.other);
    for i in 0..40 {
        let params = (0..i).map(|_| ValType::I64);
        let ty = FuncType::new(&w.other, params, [ValType::F64]);
        linker
            .func_new("m", &i.to_string(), ty, |_, _, _| Ok(()))
            .unwrap();
    }
    let mut store = w.store;
    for i in 0..40 {
        assert!(linker.get(&mut store, "m", &i.to_string()).is_err());
    }
    assert_eq!(linker.iter(&mut store).count(), 0);
    let mut store = w.other_store;
    let types = linker
        .iter(&mut store)
        .map(|(_, name, item)| (name.parse(), item))
        .collect::<Vec<_>>();
    for (params, func) in types {
        let func = func.into_func().unwrap().ty(&store);
        assert_eq!((Ok(func.params().len()), func.results().len()), (params, 1));
    }
}

/// A type means the same in every engine, so where the `wasmtime` crate panics, it is taken over.
#[test]
fn types_of_another_engine_are_taken_over() {
    let mut w = world();
    let ty = FuncType::new(
        &w.other,
        [RefType::new(true, HeapType::ConcreteStruct(struct_type(&w.other))).into()],
        [],
    );
    let func = Func::new(&mut w.store, ty.clone(), |_, _, _| Ok(()));
    assert!(Engine::same(func.ty(&w.store).engine(), &w.engine));
    func.call(&mut w.store, &[Val::null_any_ref()], &mut [])
        .unwrap();
    let outer = FuncType::new(&w.engine, ty.params(), []);
    assert!(Engine::same(outer.engine(), &w.engine));
    assert_eq!(outer.to_string().len(), ty.to_string().len());
    let nullable = RefType::new(true, HeapType::ConcreteFunc(ty.clone()));
    let table = Table::new(
        &mut w.store,
        TableType::new(nullable.clone(), 1, None),
        func.into(),
    )
    .unwrap();
    assert!(table.get(&mut w.store, 0).unwrap().unwrap_func().is_some());
    let global = GlobalType::new(nullable.into(), Mutability::Var);
    Global::new(&mut w.store, global, func.into()).unwrap();
    works(&mut w);
}
