//! The module `spectest` that the scripts of the specification's test suite import.

use cowling::{
    Global, GlobalType, Linker, Memory, MemoryType, Mutability, Ref, RefType, Result, SharedMemory,
    Store, Table, TableType, Val, ValType,
};

/// Defines `spectest` in `linker`.
///
/// What the print functions are given goes to the log, level debug.
pub(crate) fn define(store: &mut Store<()>, linker: &mut Linker<()>) -> Result<()> {
    const MODULE: &str = "spectest";

    linker.func_wrap(MODULE, "print", || tracing::debug!("print"))?;
    linker.func_wrap(MODULE, "print_i32", |a: i32| {
        tracing::debug!("print {a}: i32")
    })?;
    linker.func_wrap(MODULE, "print_i64", |a: i64| {
        tracing::debug!("print {a}: i64")
    })?;
    linker.func_wrap(MODULE, "print_f32", |a: f32| {
        tracing::debug!("print {a}: f32")
    })?;
    linker.func_wrap(MODULE, "print_f64", |a: f64| {
        tracing::debug!("print {a}: f64")
    })?;
    linker.func_wrap(MODULE, "print_i32_f32", |a: i32, b: f32| {
        tracing::debug!("print {a}: i32, {b}: f32")
    })?;
    linker.func_wrap(MODULE, "print_f64_f64", |a: f64, b: f64| {
        tracing::debug!("print {a}: f64, {b}: f64")
    })?;

    let globals = [
        ("global_i32", ValType::I32, Val::I32(666)),
        ("global_i64", ValType::I64, Val::I64(666)),
        ("global_f32", ValType::F32, Val::F32(666.6f32.to_bits())),
        ("global_f64", ValType::F64, Val::F64(666.6f64.to_bits())),
    ];
    for (name, ty, value) in globals {
        let global = Global::new(&mut *store, GlobalType::new(ty, Mutability::Const), value)?;
        linker.define(&mut *store, MODULE, name, global)?;
    }

    let table = Table::new(
        &mut *store,
        TableType::new(RefType::FUNCREF, 10, Some(20)),
        Ref::Func(None),
    )?;
    linker.define(&mut *store, MODULE, "table", table)?;
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    linker.define(&mut *store, MODULE, "memory", memory)?;
    let memory = SharedMemory::new(store.engine(), MemoryType::shared(1, 2))?;
    linker.define(&mut *store, MODULE, "shared_memory", memory)?;
    Ok(())
}
