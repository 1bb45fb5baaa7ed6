//! Filling a new instance: imports, globals, tables, element segments.

use super::Given;
use crate::const_expr::{ConstScope, Contents, evaluate};
use crate::error::{GcError, Result};
use crate::host::SharedBody;
use crate::instance::{InstancePtr, Origins};
use crate::store::{ExternHandle, StoreInner};
use cowling_abi::entity::EntityRef;
use cowling_abi::layout::{VmFuncImport, VmFuncRef, VmGlobal, VmTag, VmValue};
use cowling_abi::module::ElementItems;
use cowling_abi::*;
use std::ptr::{self, NonNull};

/// Where the imports come from, in the order of their index spaces.
pub(super) fn origins(info: &ModuleInfo, given: &[Given<'_>]) -> Origins {
    let mut hosts = Vec::new();
    let mut functions = Vec::with_capacity(info.imported_functions as usize);
    let (mut tables, mut memories, mut globals) = (Vec::new(), Vec::new(), Vec::new());
    // SAFETY: handles were checked to be of this store, and what they name alive.
    let instance = |pointer| unsafe { InstancePtr::new(pointer) };
    for given in given {
        match given {
            Given::Host(body) => {
                functions.push(ptr::null_mut());
                hosts.push(SharedBody::clone(body));
            }
            Given::Extern(ExternHandle::Func(func)) => {
                let func = func.pointer();
                // SAFETY: the function is this store's.
                let is_host = unsafe { func.as_ref() }.is_host == 1;
                functions.push(if is_host {
                    ptr::null_mut()
                } else {
                    func.as_ptr()
                });
            }
            Given::Extern(ExternHandle::Table(h)) => tables.push((instance(h.pointer()), h.index)),
            Given::Extern(ExternHandle::Memory(h)) => {
                memories.push((instance(h.pointer()), h.index))
            }
            Given::Extern(ExternHandle::Global(h)) => {
                globals.push((instance(h.pointer()), h.index))
            }
            Given::Extern(ExternHandle::Tag(_)) => {}
        }
    }
    Origins {
        functions: functions.into(),
        _hosts: hosts,
        tables: tables.into(),
        memories: memories.into(),
        globals: globals.into(),
    }
}

pub(super) fn fill_imports(instance: InstancePtr, store: NonNull<StoreInner>, given: &[Given<'_>]) {
    for (import, given) in instance.info().imports.iter().zip(given) {
        // SAFETY: the records are in the new VMContext, which nobody else uses yet. What handles point at is this store's.
        unsafe {
            match (import.entity, given) {
                (EntityIndex::Func(index), given) => {
                    let record = import_record(instance, store, index, *given);
                    // A reference to it that was built in an earlier life has the code that host function had.
                    if let Some(place) = instance.info().functions[index].funcref {
                        let reference = instance.func_ref_record(place);
                        if !(*reference).code.is_null() {
                            (*reference).code = record.code;
                        }
                    }
                    instance.import_record(index).write(record);
                }
                (EntityIndex::Table(index), _) => {
                    let record = instance.table(index).record();
                    instance.imported_table_record(index).write(record);
                }
                (EntityIndex::Memory(index), _) => {
                    let (owner, defined) = instance.memory(index);
                    instance
                        .imported_memory_record(index)
                        .write(owner.defined_memory_record(defined));
                }
                (EntityIndex::Global(index), _) => {
                    let (owner, defined) = instance.global(index);
                    instance
                        .imported_global_record(index)
                        .write(owner.defined_global_record(defined));
                }
                (EntityIndex::Tag(index), Given::Extern(ExternHandle::Tag(tag))) => {
                    let tag: *mut VmTag = tag.pointer().as_ptr();
                    instance.imported_tag_record(index).write(tag);
                }
                (EntityIndex::Tag(_), _) => unreachable!("imports were checked to fit"),
            }
        }
    }
}

/// The import record of a function.
///
/// # Safety
/// What is given is this store's.
pub(super) unsafe fn import_record(
    instance: InstancePtr,
    store: NonNull<StoreInner>,
    index: FuncIndex,
    given: Given<'_>,
) -> VmFuncImport {
    let module = instance.module();
    let ty = module.info().functions[index].ty;
    let (head, keeper) = match given {
        Given::Host(body) => (ptr::from_ref(body.head()), 0),
        // SAFETY: as the caller says; the context of a host function is an import record.
        Given::Extern(ExternHandle::Func(func)) => unsafe {
            let number = func.instance_number();
            let func = func.pointer().as_ref();
            match func.is_host {
                1 => {
                    let record = func.ctx.cast::<VmFuncImport>();
                    // Who imports it need not be who keeps it.
                    let keeper = match (*record).keeper {
                        0 => number.place + 1,
                        keeper => keeper,
                    };
                    ((*record).host.cast(), keeper)
                }
                _ => {
                    return VmFuncImport {
                        code: func.code,
                        ctx: func.ctx,
                        host: ptr::null(),
                        caller: instance.vmctx().as_ptr(),
                        store: store.as_ptr().cast(),
                        entry: func.entry,
                        type_id: func.type_id,
                        keeper: 0,
                    };
                }
            }
        },
        Given::Extern(_) => unreachable!("imports were checked to fit"),
    };
    // SAFETY: the store and its host functions' heads are valid.
    let code = unsafe { (*head).code(store.as_ref().config().knobs.consume_fuel) };
    VmFuncImport {
        code: code.or(module.host_shim(ty)).unwrap_or(ptr::null()),
        ctx: instance.import_record(index).cast(),
        host: head.cast(),
        caller: instance.vmctx().as_ptr(),
        store: store.as_ptr().cast(),
        entry: ptr::null(),
        type_id: module.type_ids()[ty.index()],
        keeper,
    }
}

/// What expressions of a new instance refer to, and where their objects go.
struct Making<'a> {
    store: &'a mut StoreInner,
    instance: InstancePtr,
}

impl ConstScope for Making<'_> {
    fn global(&mut self, index: GlobalIndex) -> VmValue {
        ConstScope::global(&mut self.instance, index)
    }

    fn func_ref(&mut self, index: FuncIndex) -> *mut VmFuncRef {
        self.instance.func_ref(index)
    }

    fn field_count(&self, ty: TypeIndex) -> usize {
        self.instance.field_count(ty)
    }

    fn new_object(&mut self, ty: TypeIndex, contents: Contents<'_>) -> Result<VmValue, GcError> {
        let module = self.instance.module();
        let type_id = module.type_ids()[ty.index()];
        let ty = &module.info().types[ty].composite;
        let reference = self.store.make_object(type_id, ty, contents)?;
        // Until the instance is the store's.
        self.store.objects_mut().root(reference);
        Ok(VmValue::from_u32(reference))
    }
}

pub(super) fn fill_globals(store: &mut StoreInner, instance: InstancePtr) -> Result<(), GcError> {
    // In order: an expression may use the globals before.
    for (index, init) in instance.info().global_inits.iter() {
        let VmValue { bytes } = evaluate(init, &mut Making { store, instance })?;
        // SAFETY: the record is in the new VMContext.
        unsafe {
            instance
                .defined_global_record(index)
                .write(VmGlobal { bytes })
        };
    }
    Ok(())
}

pub(super) fn fill_tables(store: &mut StoreInner, instance: InstancePtr) -> Result<(), GcError> {
    let info = instance.info();
    for (index, init) in info.table_inits.iter() {
        if let Some(fill) = &init.fill {
            let value = evaluate(fill, &mut Making { store, instance })?;
            instance.table(info.table_index(index)).fill_new(value);
        }
    }
    Ok(())
}

/// Makes the values of element segments that are objects.
pub(super) fn make_elements(store: &mut StoreInner, instance: InstancePtr) -> Result<(), GcError> {
    for (index, segment) in instance.info().elements.iter() {
        let ElementItems::Expressions(expressions) = &segment.items else {
            continue;
        };
        if !segment.items.make_objects() {
            continue;
        }
        let mut values = Vec::with_capacity(expressions.len());
        for expression in expressions {
            values.push(evaluate(expression, &mut Making { store, instance })?.u32());
        }
        let mut all = instance.element_values.borrow_mut();
        all.insert(index, values.into());
    }
    Ok(())
}
