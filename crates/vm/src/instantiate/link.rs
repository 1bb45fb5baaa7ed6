//! Does what is given fit the imports? By subtyping, in the terms of the module's own types.

use super::Given;
use crate::code::{CompiledModule, TypeRegistry};
use crate::error::{HandleError, LinkError, Result};
use crate::host::SharedBody;
use crate::store::{ExternHandle, StoreInner};
use cowling_abi::entity::EntityRef;
use cowling_abi::*;

pub(super) fn check_imports(
    store: &StoreInner,
    module: &CompiledModule,
    given: &[Given<'_>],
) -> Result<(), LinkError> {
    let imports = &module.info().imports;
    if imports.len() != given.len() {
        return Err(LinkError::Count {
            expected: imports.len(),
            found: given.len(),
        });
    }
    for (import, given) in imports.iter().zip(given) {
        if let Given::Extern(handle) = given
            && let Err(error) = handle.check(store)
        {
            let (module, field) = (import.module.clone(), import.field.clone());
            return Err(match error {
                HandleError::WrongStore(_) => LinkError::WrongStore { module, field },
                HandleError::Removed(source) => LinkError::Removed {
                    module,
                    field,
                    source,
                },
            });
        }
        if !matches(store, module, import.entity, *given) {
            return Err(LinkError::Incompatible {
                module: import.module.clone(),
                field: import.field.clone(),
                expected: Box::new(module.info().entity_type(import.entity)),
                found: Box::new(type_of(store, *given)),
            });
        }
    }
    Ok(())
}

/// Does what is given fit the import? Handles were checked to be of this store.
pub(super) fn matches(
    store: &StoreInner,
    module: &CompiledModule,
    expected: EntityIndex,
    given: Given<'_>,
) -> bool {
    let info = module.info();
    match (expected, given) {
        (EntityIndex::Func(index), Given::Host(body)) => host_matches(module, index, body),
        (EntityIndex::Func(index), Given::Extern(ExternHandle::Func(func))) => {
            let expected = module.type_ids()[info.functions[index].ty.index()];
            // SAFETY: the function is this store's.
            let found = unsafe { func.pointer().as_ref() }.type_id;
            module.type_registry().is_subtype(found, expected)
        }
        (EntityIndex::Tag(index), Given::Extern(ExternHandle::Tag(tag))) => {
            let expected = module.type_ids()[info.tags[index].index()];
            // SAFETY: the tag is this store's.
            expected == unsafe { tag.pointer().as_ref() }.type_id
        }
        (_, given @ Given::Extern(_)) => {
            let (expected, found) = (info.entity_type(expected), type_of(store, given));
            entity_matches(module.type_registry(), &expected, &found)
        }
        (_, Given::Host(_)) => false,
    }
}

/// Does a host function fit an import?
pub(super) fn host_matches(module: &CompiledModule, import: FuncIndex, body: &SharedBody) -> bool {
    let expected = module.info().functions[import].ty;
    match body.registered() {
        Some(found) => module.import_accepts(EntityIndex::Func(import), found),
        // Its type is plain and names no others.
        None => {
            module.info().is_plain_type(expected) && module.info().signature(expected) == body.ty()
        }
    }
}

/// Do the types of a table, memory or global allow the import? The minimum of what is found is its current size.
pub(super) fn entity_matches(
    types: &TypeRegistry,
    expected: &EntityType,
    found: &EntityType,
) -> bool {
    let limits = |expected: (u64, Option<u64>), found: (u64, Option<u64>)| {
        found.0 >= expected.0
            && expected
                .1
                .is_none_or(|most| found.1.is_some_and(|max| max <= most))
    };
    match (expected, found) {
        (EntityType::Table(e), EntityType::Table(f)) => {
            e.element == f.element
                && e.table64 == f.table64
                && limits((e.minimum, e.maximum), (f.minimum, f.maximum))
        }
        (EntityType::Memory(e), EntityType::Memory(f)) => {
            let kind = |ty: &MemoryType| (ty.memory64, ty.shared, ty.page_size_log2);
            kind(e) == kind(f) && limits((e.minimum, e.maximum), (f.minimum, f.maximum))
        }
        (EntityType::Global(e), EntityType::Global(f)) => {
            // A constant may be of a more precise type than the import asks for.
            let content = if e.mutable {
                e.content == f.content
            } else {
                types.value_matches(f.content, e.content)
            };
            content && e.mutable == f.mutable
        }
        _ => false,
    }
}

/// The type of what is given; the minimum of a table or memory is its current size.
pub(super) fn type_of(store: &StoreInner, given: Given<'_>) -> EntityType {
    let ours = "handles were checked to be of this store";
    match given {
        Given::Host(body) => EntityType::Func(body.ty().clone()),
        Given::Extern(ExternHandle::Func(h)) => EntityType::Func(store.func_type(h).expect(ours)),
        Given::Extern(ExternHandle::Tag(h)) => EntityType::Tag(store.tag_type(h).expect(ours)),
        Given::Extern(ExternHandle::Global(h)) => {
            EntityType::Global(store.global_type(h).expect(ours))
        }
        Given::Extern(ExternHandle::Table(h)) => EntityType::Table(TableType {
            minimum: store.table_size(h).expect(ours),
            ..store.table_type(h).expect(ours)
        }),
        Given::Extern(ExternHandle::Memory(h)) => EntityType::Memory(MemoryType {
            minimum: store.memory_pages(h).expect(ours),
            ..store.memory_type(h).expect(ours)
        }),
    }
}
