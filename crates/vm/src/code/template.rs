//! What every instance of a module begins with.

use crate::const_expr::{ConstScope, evaluate};
use cowling_abi::layout::{VmFuncRef, VmGlobal, VmValue};
use cowling_abi::module::{ConstExpr, ConstOp, SegmentMode};
use cowling_abi::{FuncIndex, GlobalIndex, ModuleInfo};
use std::ptr;

/// The part of an instance's beginnings that is known when its module is loaded.
#[derive(Debug)]
pub(crate) struct Template {
    /// The values of the globals it defines; `None` if one of them depends on the instance.
    pub(crate) globals: Option<Box<[VmGlobal]>>,
    /// Are there tables whose elements begin as something else than null or what the module lists?
    pub(crate) filled_tables: bool,
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
}

fn constant(expr: &ConstExpr) -> Option<VmGlobal> {
    let refers = |op: &ConstOp| matches!(op, ConstOp::GlobalGet(_) | ConstOp::RefFunc(_));
    (!expr.ops.iter().any(refers)).then(|| VmGlobal {
        bytes: evaluate(expr, &mut Nothing).bytes,
    })
}

fn is_active<T>(mode: &SegmentMode<T>) -> bool {
    matches!(mode, SegmentMode::Active { .. })
}

impl Template {
    /// The template of a module whose facts were checked.
    pub(super) fn new(info: &ModuleInfo) -> Template {
        let is_null = |fill: &ConstExpr| matches!(fill.ops[..], [ConstOp::RefNull(_)]);
        Template {
            globals: info.global_inits.values().map(constant).collect(),
            filled_tables: (info.table_inits.values())
                .any(|init| init.fill.as_ref().is_some_and(|fill| !is_null(fill))),
            active_segments: info
                .elements
                .values()
                .any(|segment| is_active(&segment.mode))
                || info.data.values().any(|segment| is_active(&segment.mode)),
        }
    }
}
