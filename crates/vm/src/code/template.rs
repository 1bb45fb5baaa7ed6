//! What every instance of a module begins with.

use crate::const_expr::{ConstScope, Contents, evaluate};
use crate::error::GcError;
use cowling_abi::layout::{VmFuncRef, VmGlobal, VmValue};
use cowling_abi::module::{ConstExpr, ConstOp, SegmentMode};
use cowling_abi::{
    CompositeType, FieldType, FuncIndex, GlobalIndex, ModuleInfo, Representation, StorageType,
    TypeIndex,
};
use std::ptr;

/// The part of an instance's beginnings that is known when its module is loaded.
#[derive(Debug)]
pub(crate) struct Template {
    /// The values of the globals it defines; `None` if one of them depends on the instance.
    pub(crate) globals: Option<Box<[VmGlobal]>>,
    /// Are there tables whose elements begin as something else than null or what the module lists?
    pub(crate) filled_tables: bool,
    /// Are there element segments whose expressions make objects?
    pub(crate) objects_in_segments: bool,
    /// Will the store need a heap?
    pub(crate) needs_heap: bool,
    /// Are there types of objects that hold references to functions?
    pub(crate) functions_in_objects: bool,
    /// Are there segments to be applied?
    pub(crate) active_segments: bool,
}

/// For expressions that refer to nothing.
struct Nothing;

impl ConstScope for Nothing {
    fn global(&mut self, _: GlobalIndex) -> VmValue {
        VmValue::default()
    }

    fn func_ref(&mut self, _: FuncIndex) -> *mut VmFuncRef {
        ptr::null_mut()
    }

    fn field_count(&self, _: TypeIndex) -> usize {
        0
    }

    fn new_object(&mut self, _: TypeIndex, _: Contents<'_>) -> Result<VmValue, GcError> {
        Ok(VmValue::default())
    }
}

fn constant(expr: &ConstExpr) -> Option<VmGlobal> {
    let refers = |op: &ConstOp| {
        matches!(op, ConstOp::GlobalGet(_) | ConstOp::RefFunc(_)) || op.makes_object()
    };
    if expr.ops.iter().any(refers) {
        return None;
    }
    let VmValue { bytes } = evaluate(expr, &mut Nothing).ok()?;
    Some(VmGlobal { bytes })
}

fn is_active<T>(mode: &SegmentMode<T>) -> bool {
    matches!(mode, SegmentMode::Active { .. })
}

/// Do objects of this type hold references to functions?
pub(crate) fn holds_functions(ty: &CompositeType) -> bool {
    let is_function = |field: &FieldType| matches!(field.storage, StorageType::Val(ty) if ty.representation() == Representation::FuncRef);
    match ty {
        CompositeType::Func(_) => false,
        CompositeType::Struct(ty) => ty.fields.iter().any(is_function),
        CompositeType::Array(ty) => is_function(&ty.element),
    }
}

impl Template {
    /// The template of a module whose facts were checked.
    pub(super) fn new(info: &ModuleInfo) -> Template {
        let is_null = |fill: &ConstExpr| matches!(fill.ops[..], [ConstOp::RefNull(_)]);
        Template {
            globals: info.global_inits.values().map(constant).collect(),
            filled_tables: (info.table_inits.values())
                .any(|init| init.fill.as_ref().is_some_and(|fill| !is_null(fill))),
            objects_in_segments: info
                .elements
                .values()
                .any(|segment| segment.items.make_objects()),
            needs_heap: info.has_object_types(),
            functions_in_objects: info.types.values().any(|ty| holds_functions(&ty.composite)),
            active_segments: info
                .elements
                .values()
                .any(|segment| is_active(&segment.mode))
                || info.data.values().any(|segment| is_active(&segment.mode)),
        }
    }
}
