//! What is used after it was removed from its store, by something that holds on to it. Handles are in `freeing`.

use super::{Misuse, are_refused, ready};
use cowling::*;

/// A store with an instance that has been removed, and what was got from it before.
struct World {
    store: Store<()>,
    instance: Instance,
    func: Func,
    memory: Memory,
    table: Table,
    linker: Linker<()>,
    module: Module,
    pre: InstancePre<()>,
    env: FunctionEnv<u8>,
    with_env: Func,
}

fn world() -> World {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let plugin = Module::new(
        &engine,
        r#"(module $plugin (func (export "f")) (memory (export "m") 1) (table (export "t") 1 funcref))"#,
    );
    let instance = Instance::new(&mut store, &plugin.unwrap(), &[]).unwrap();
    let mut linker = Linker::new(&engine);
    linker.instance(&mut store, "plugin", instance).unwrap();
    let module = Module::new(&engine, r#"(module (import "plugin" "f" (func)))"#).unwrap();
    let env = FunctionEnv::new(&mut store, 1);
    let world = World {
        func: instance.get_func(&mut store, "f").unwrap(),
        memory: instance.get_memory(&mut store, "m").unwrap(),
        table: instance.get_table(&mut store, "t").unwrap(),
        with_env: Func::wrap_with_env(&mut store, &env, |_: FunctionEnvMut<'_, (), u8>| {})
            .unwrap(),
        pre: linker.instantiate_pre(&module).unwrap(),
        env,
        linker,
        module,
        instance,
        store,
    };
    let World { mut store, .. } = world;
    assert!(instance.remove(&mut store).unwrap().is_freed());
    env.remove(&mut store).unwrap();
    World { store, ..world }
}

fn works(w: &mut World) {
    let plugin = Module::new(w.store.engine(), r#"(module (func (export "f")))"#).unwrap();
    let instance = Instance::new(&mut w.store, &plugin, &[]).unwrap();
    let mut linker = Linker::new(w.store.engine());
    linker.instance(&mut w.store, "plugin", instance).unwrap();
    linker.instantiate(&mut w.store, &w.module).unwrap();
}

const REMOVED: &[&str] = &["has been removed from its store"];
const IMPORT: &[&str] = &["\"plugin\".\"f\"", "has been removed from its store"];

#[test]
fn what_was_removed_is_refused_by_what_holds_on_to_it() {
    let misuses: &[Misuse<World>] = &[
        (
            "an import from a linker",
            |w| w.linker.instantiate(&mut w.store, &w.module).map(drop),
            IMPORT,
        ),
        (
            "an import of a module of a linker",
            |w| w.linker.module(&mut w.store, "m", &w.module).map(drop),
            IMPORT,
        ),
        (
            "an import of a prepared instance",
            |w| w.pre.instantiate(&mut w.store).map(drop),
            IMPORT,
        ),
        (
            "an import of a prepared instance, asynchronously",
            |w| ready(w.pre.instantiate_async(&mut w.store)).map(drop),
            IMPORT,
        ),
        (
            "exports for a linker",
            |w| {
                Linker::new(w.store.engine())
                    .instance(&mut w.store, "m", w.instance)
                    .map(drop)
            },
            &["\"m\"", "has been removed from its store"],
        ),
        (
            "a definition of a linker",
            |w| {
                Linker::new(w.store.engine())
                    .define(&w.store, "m", "f", w.func)
                    .map(drop)
            },
            &["\"m\".\"f\"", "has been removed from its store"],
        ),
        (
            "a name of a linker",
            |w| {
                Linker::new(w.store.engine())
                    .define_name(&w.store, "memory", w.memory)
                    .map(drop)
            },
            &["\"memory\"", "has been removed from its store"],
        ),
        (
            "a function of a linker, called",
            |w| {
                let func = w
                    .linker
                    .get(&mut w.store, "plugin", "f")?
                    .into_func()
                    .unwrap();
                func.call(&mut w.store, &[], &mut [])
            },
            REMOVED,
        ),
        (
            "a function, called asynchronously",
            |w| ready(w.func.call_async(&mut w.store, &[], &mut [])),
            REMOVED,
        ),
        (
            "a memory, grown asynchronously",
            |w| ready(w.memory.grow_async(&mut w.store, 1)).map(drop),
            REMOVED,
        ),
        (
            "a memory, read",
            |w| Ok(w.memory.read(&w.store, 0, &mut [0])?),
            &[],
        ),
        (
            "a memory, written",
            |w| Ok(w.memory.write(&mut w.store, 0, &[0])?),
            &[],
        ),
        (
            "a table, grown asynchronously",
            |w| ready(w.table.grow_async(&mut w.store, 1, Ref::Func(None))).map(drop),
            REMOVED,
        ),
        (
            "a table, filled",
            |w| w.table.fill(&mut w.store, 0, Ref::Func(None), 1),
            REMOVED,
        ),
        (
            "a table, copied from",
            |w| {
                let own = Table::new(
                    &mut w.store,
                    TableType::new(RefType::FUNCREF, 1, None),
                    Ref::Func(None),
                )?;
                Table::copy(&mut w.store, &own, 0, &w.table, 0, 1)
            },
            REMOVED,
        ),
        (
            "a table, copied to",
            |w| {
                let own = Table::new(
                    &mut w.store,
                    TableType::new(RefType::FUNCREF, 1, None),
                    Ref::Func(None),
                )?;
                Table::copy(&mut w.store, &w.table, 0, &own, 0, 1)
            },
            REMOVED,
        ),
        (
            "a function as the first value of a table",
            |w| {
                let ty = TableType::new(RefType::FUNCREF, 1, None);
                Table::new(&mut w.store, ty, w.func.into()).map(drop)
            },
            REMOVED,
        ),
        (
            "a function as a global",
            |w| {
                let ty = GlobalType::new(ValType::FUNCREF, Mutability::Var);
                Global::new(&mut w.store, ty, w.func.into()).map(drop)
            },
            REMOVED,
        ),
        (
            "a function as a value",
            |w| Val::from(w.func).ty(&w.store).map(drop),
            REMOVED,
        ),
        (
            "a function that a host function returns",
            |w| {
                let func = w.func;
                Func::wrap(&mut w.store, move || Some(func)).call(
                    &mut w.store,
                    &[],
                    &mut [Val::I32(0)],
                )
            },
            REMOVED,
        ),
        (
            "an environment, looked at",
            |w| Ok(w.env.as_ref(&w.store).map(drop)?),
            REMOVED,
        ),
        (
            "an environment, of a new function",
            |w| {
                Func::wrap_with_env(&mut w.store, &w.env, |_: FunctionEnvMut<'_, (), u8>| {})
                    .map(drop)
            },
            REMOVED,
        ),
        (
            "an environment, of a function that is called",
            |w| w.with_env.call(&mut w.store, &[], &mut []),
            REMOVED,
        ),
    ];
    are_refused(world, works, misuses);
}

#[test]
fn an_environment_is_not_removed_while_its_function_runs() {
    let mut store = Store::<()>::default();
    let env = FunctionEnv::new(&mut store, 7_u8);
    let func = Func::wrap_with_env(
        &mut store,
        &env,
        |mut state: FunctionEnvMut<'_, (), u8>| -> Result<()> {
            let env = state.as_env();
            let refused = env.remove(&mut state).unwrap_err();
            *state.data_mut() += 1;
            Err(refused.into())
        },
    );
    let error = func.unwrap().call(&mut store, &[], &mut []).unwrap_err();
    crate::support::assert_says(
        &error,
        &["environment 0", "cannot be removed", "is running"],
    );
    assert_eq!(env.remove(&mut store).unwrap(), 8);
}
