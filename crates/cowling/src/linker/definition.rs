//! What a name in a linker stands for.

use crate::error::{LinkError, Result, WrongStore};
use crate::externs::Extern;
use crate::func::{Func, HostFunc};
use crate::store::{AsContext, AsContextMut, StoreData};
use crate::types::ValType;
use cowling_abi::module::Import;
use cowling_abi::{EntityType, ModuleInfo};
use cowling_vm::ImportValue;

/// What a name stands for.
pub(super) enum Definition<T: 'static> {
    /// A host function, in no store yet.
    Host(HostFunc<T>),
    /// Something in a store, with its type when it was defined.
    Item(Extern, Box<EntityType>),
}

impl<T: 'static> Clone for Definition<T> {
    fn clone(&self) -> Self {
        match self {
            Definition::Host(func) => Definition::Host(func.clone()),
            Definition::Item(item, ty) => Definition::Item(*item, ty.clone()),
        }
    }
}

impl<T: 'static> Definition<T> {
    pub(super) fn of(store: impl AsContext<Data = T>, item: Extern) -> Result<Self> {
        let store = store.as_context();
        if item.to_vm().store_id() != store.0.id() {
            return Err(WrongStore.into());
        }
        Ok(Definition::Item(item, Box::new(item.ty(store).into_abi())))
    }

    /// Fits it the import, as far as that can be told without its store? The runtime checks again, with sizes as they are
    /// then.
    pub(super) fn check(&self, info: &ModuleInfo, import: &Import) -> Result<(), LinkError> {
        let expected = info.entity_type(import.entity);
        let found = match self {
            Definition::Host(func) => EntityType::Func(func.ty().clone()),
            Definition::Item(_, ty) => (**ty).clone(),
        };
        if fits_but_for_limits(&expected, &found) {
            return Ok(());
        }
        Err(LinkError::Incompatible {
            module: import.module.clone(),
            field: import.field.clone(),
            expected: Box::new(expected),
            found: Box::new(found),
        })
    }

    pub(super) fn to_import(&self) -> ImportValue<StoreData<T>> {
        match self {
            Definition::Host(func) => ImportValue::Host(func.clone()),
            Definition::Item(item, _) => ImportValue::Extern(item.to_vm()),
        }
    }

    pub(super) fn to_extern(&self, mut store: impl AsContextMut<Data = T>) -> Extern {
        match self {
            Definition::Host(func) => {
                Func::from_vm(store.as_context_mut().0.host_func(func)).into()
            }
            Definition::Item(item, _) => *item,
        }
    }
}

/// Is something of type `found` good for an import of type `expected`? Tables and memories grow, so only what never changes about them counts here.
fn fits_but_for_limits(expected: &EntityType, found: &EntityType) -> bool {
    match (expected, found) {
        (EntityType::Table(e), EntityType::Table(f)) => {
            e.element == f.element && e.table64 == f.table64
        }
        (EntityType::Memory(e), EntityType::Memory(f)) => {
            (e.memory64, e.shared, e.page_size_log2) == (f.memory64, f.shared, f.page_size_log2)
        }
        (EntityType::Global(e), EntityType::Global(f)) if !e.mutable && !f.mutable => {
            ValType::from_abi(f.content).matches(&ValType::from_abi(e.content))
        }
        (expected, found) => expected == found,
    }
}
