//! What the tests share.

#[path = "../common/errors.rs"]
mod errors;

use cowling::{Engine, Instance, Linker, Module, Result, Store};
pub(crate) use errors::{assert_says, trap};

/// An instance of a module without imports, in a store of its own.
pub(crate) fn instance(wat: &str) -> (Store<()>, Instance) {
    let mut store = Store::<()>::default();
    let module = Module::new(store.engine(), wat).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// An instance of a module with imports from a linker, in a store of its own.
pub(crate) fn linked<T: Default>(
    wat: &str,
    define: impl FnOnce(&mut Linker<T>),
) -> Result<(Store<T>, Instance)> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    define(&mut linker);
    let mut store = Store::new(&engine, T::default());
    let module = Module::new(&engine, wat)?;
    let instance = linker.instantiate(&mut store, &module)?;
    Ok((store, instance))
}

/// Calls an export without parameters and results.
pub(crate) fn run<T>(store: &mut Store<T>, instance: &Instance, name: &str) -> Result<()> {
    instance
        .get_typed_func::<(), ()>(&mut *store, name)?
        .call(store, ())
}
