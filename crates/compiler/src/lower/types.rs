//! WebAssembly types as CLIF types and signatures.

use cowling_abi::{FuncType, HeapType, ValType};
use cranelift_codegen::ir::{self, AbiParam, ArgumentPurpose, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};

/// The CLIF type of a WebAssembly value.
///
/// A vector is `i8x16` wherever values meet (parameters, results, locals, block parameters); between two vector operators it may
/// have any 128-bit vector type.
pub(crate) fn clif_type(ty: ValType) -> ir::Type {
    match ty {
        ValType::I32 => types::I32,
        ValType::I64 => types::I64,
        ValType::F32 => types::F32,
        ValType::F64 => types::F64,
        ValType::V128 => types::I8X16,
        ValType::Ref(reference) => heap_type(reference.heap),
    }
}

/// The CLIF type of a reference.
pub(crate) fn heap_type(heap: HeapType) -> ir::Type {
    if heap.is_func() {
        types::I64
    } else {
        types::I32
    }
}

/// The signature of guest code of this type: `Tail` convention, the context first.
pub(crate) fn guest_signature(ty: &FuncType, isa: &dyn TargetIsa) -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::Tail);
    let params = ty.params.iter().map(|&ty| AbiParam::new(clif_type(ty)));
    signature.params.push(AbiParam::special(
        isa.pointer_type(),
        ArgumentPurpose::VMContext,
    ));
    signature.params.extend(params);
    let results = ty.results.iter().map(|&ty| AbiParam::new(clif_type(ty)));
    signature.returns.extend(results);
    signature
}
