//! What a name in a linker stands for.

use crate::error::{LinkError, Result};
use crate::externs::Extern;
use crate::func::{Func, HostFunc};
use crate::store::{AsContext, AsContextMut, StoreData};
use crate::types::ExternType;
use cowling_abi as abi;
use cowling_abi::module::Import;
use cowling_abi::{EntityIndex, EntityType};
use cowling_vm::{CompiledModule, ImportValue};

/// What a name stands for.
pub(super) enum Definition<T> {
    /// A host function, in no store yet.
    Host(HostFunc<T>),
    /// Something in a store, or a shared memory, with its type when it was defined.
    Item(Extern, Box<ExternType>),
}

impl<T> Clone for Definition<T> {
    fn clone(&self) -> Self {
        match self {
            Definition::Host(func) => Definition::Host(func.clone()),
            Definition::Item(item, ty) => Definition::Item(item.clone(), ty.clone()),
        }
    }
}

impl<T: 'static> Definition<T> {
    pub(super) fn of(store: impl AsContext<Data = T>, item: Extern) -> Result<Self> {
        let store = store.as_context();
        if let ImportValue::Extern(handle) = item.to_import::<()>() {
            handle.check(store.inner())?;
        }
        let ty = Box::new(item.ty(store));
        Ok(Definition::Item(item, ty))
    }

    /// Fits it the import, as far as that can be told without its store? The runtime checks again, with sizes as they are
    /// then.
    pub(super) fn check(&self, module: &CompiledModule, import: &Import) -> Result<(), LinkError> {
        let (fits, found) = match self {
            Definition::Host(func) => {
                let fits = match import.entity {
                    EntityIndex::Func(index) => func.fits(module, index),
                    _ => false,
                };
                (fits, EntityType::Func(func.ty().clone()))
            }
            Definition::Item(_, ty) => (item_fits(module, import.entity, ty), entity_type(ty)),
        };
        if fits {
            return Ok(());
        }
        Err(LinkError::Incompatible {
            module: import.module.clone(),
            field: import.field.clone(),
            expected: Box::new(module.info().entity_type(import.entity)),
            found: Box::new(found),
        })
    }

    pub(super) fn to_import(&self) -> ImportValue<StoreData<T>> {
        match self {
            Definition::Host(func) => ImportValue::Host(func.clone()),
            Definition::Item(item, _) => item.to_import(),
        }
    }

    pub(super) fn to_extern(&self, mut store: impl AsContextMut<Data = T>) -> Extern {
        match self {
            Definition::Host(func) => {
                Func::from_vm(store.as_context_mut().0.host_func(func)).into()
            }
            Definition::Item(item, _) => item.clone(),
        }
    }
}

/// Is something of type `found` good for an import? Tables and memories grow, so only what never changes about them counts here.
fn item_fits(module: &CompiledModule, import: EntityIndex, found: &ExternType) -> bool {
    let (info, types) = (module.info(), module.type_registry());
    match (import, found) {
        (EntityIndex::Func(_), ExternType::Func(ty)) => {
            module.import_accepts(import, ty.registered())
        }
        (EntityIndex::Tag(_), ExternType::Tag(ty)) => {
            module.import_accepts(import, ty.ty().registered())
        }
        (EntityIndex::Table(index), ExternType::Table(found)) => {
            let (expected, found) = (info.tables[index], found.to_abi());
            expected.element == found.element && expected.table64 == found.table64
        }
        (EntityIndex::Memory(index), ExternType::Memory(found)) => {
            let kind = |ty: abi::MemoryType| (ty.memory64, ty.shared, ty.page_size_log2);
            kind(info.memories[index]) == kind(found.to_abi())
        }
        (EntityIndex::Global(index), ExternType::Global(found)) => {
            let (expected, found) = (info.globals[index], found.to_abi());
            expected.mutable == found.mutable
                && if expected.mutable {
                    expected.content == found.content
                } else {
                    types.value_matches(found.content, expected.content)
                }
        }
        _ => false,
    }
}

/// The type, as errors show it.
fn entity_type(ty: &ExternType) -> EntityType {
    match ty {
        ExternType::Func(ty) => EntityType::Func(ty.as_abi().clone()),
        ExternType::Table(ty) => EntityType::Table(ty.to_abi()),
        ExternType::Memory(ty) => EntityType::Memory(ty.to_abi()),
        ExternType::Global(ty) => EntityType::Global(ty.to_abi()),
        ExternType::Tag(ty) => EntityType::Tag(abi::TagType {
            params: ty.ty().as_abi().params.clone(),
        }),
    }
}
