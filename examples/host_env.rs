//! Host functions with state of their own, apart from the store's data.
//!
//! ```sh
//! cargo run --example host_env
//! ```

use cowling::{
    Engine, EnvError, Func, FunctionEnv, FunctionEnvMut, Linker, Module, Result, Store, bail,
};
use std::collections::BTreeMap;

// ANCHOR: guest
/// Uses a key-value store, and draws numbers, of which there are not many.
const GUEST: &str = r#"(module
    (import "kv" "set" (func $set (param i32 i64)))
    (import "kv" "get" (func $get (param i32) (result i64)))
    (import "draw" "next" (func $next (result i64)))
    (func (export "run") (param $key i32) (result i64)
        (call $set (local.get $key) (i64.add (call $get (local.get $key)) (call $next)))
        (call $get (local.get $key))))"#;
// ANCHOR_END: guest

// ANCHOR: import
/// Three numbers for each store, and then no more.
fn add_draw<T: 'static>(linker: &mut Linker<T>) -> Result<()> {
    let numbers = || vec![300_i64, 20, 1];
    linker.func_wrap_with_env(
        "draw",
        "next",
        move |_| Ok(numbers()),
        |mut env: FunctionEnvMut<'_, T, Vec<i64>>| match env.data_mut().pop() {
            Some(number) => Ok(number),
            None => bail!("all numbers are drawn"),
        },
    )?;
    Ok(())
}
// ANCHOR_END: import

// ANCHOR: shared
type Kv = BTreeMap<i32, i64>;

/// Two functions with one environment, in one store.
fn add_kv<T: 'static>(linker: &mut Linker<T>, store: &mut Store<T>) -> Result<FunctionEnv<Kv>> {
    let kv = FunctionEnv::new(&mut *store, Kv::new());
    let set = |mut env: FunctionEnvMut<'_, T, Kv>, key: i32, value: i64| {
        env.data_mut().insert(key, value);
    };
    let get = |env: FunctionEnvMut<'_, T, Kv>, key: i32| {
        env.data().get(&key).copied().unwrap_or_default()
    };
    let set = Func::wrap_with_env(&mut *store, &kv, set)?;
    let get = Func::wrap_with_env(&mut *store, &kv, get)?;
    linker.define(&*store, "kv", "set", set)?;
    linker.define(&*store, "kv", "get", get)?;
    Ok(kv)
}
// ANCHOR_END: shared

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut common = Linker::new(&engine);
    add_draw(&mut common)?;

    for name in ["a", "b"] {
        run(&module, &common, name)?;
    }
    Ok(())
}

// ANCHOR: run
fn run(module: &Module, common: &Linker<()>, name: &str) -> Result<()> {
    let mut store = Store::new(module.engine(), ());
    let mut linker = common.clone();
    let kv = add_kv(&mut linker, &mut store)?;
    kv.as_mut(&mut store)?.insert(7, 4000);

    let instance = linker.instantiate(&mut store, module)?;
    let run = instance.get_typed_func::<i32, i64>(&mut store, "run")?;
    for _ in 0..3 {
        println!("store {name}: {}", run.call(&mut store, 7)?);
    }
    let error = run.call(&mut store, 7).unwrap_err();
    println!("store {name}: {}", error.root_cause());
    println!("store {name}: the host sees {:?}", kv.as_ref(&store)?);
    // ANCHOR_END: run

    // ANCHOR: remove
    let taken = kv.remove(&mut store)?;
    println!("store {name}: taken out: {taken:?}");
    let error = run.call(&mut store, 7).unwrap_err();
    println!("store {name}: {}", error.root_cause());
    assert!(error.is::<EnvError>());
    // ANCHOR_END: remove
    Ok(())
}
