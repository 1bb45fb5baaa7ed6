//! From wasmparser's types to the contract's.

use crate::error::CompileError;
use cowling_abi::module::{ConstExpr, ConstOp};
use cowling_abi::{
    FuncIndex, FuncType, GlobalIndex, GlobalType, HeapType, MemoryType, ModuleInfo, RefType,
    TableType, ValType,
};
use wasmparser::{AbstractHeapType, Operator};

fn unsupported(offset: u64, what: impl Into<String>) -> CompileError {
    CompileError::Unsupported {
        offset,
        what: what.into(),
    }
}

/// What a reference refers to. `offset` is where the type stands in the binary.
pub(super) fn heap_type(heap: wasmparser::HeapType, offset: u64) -> Result<HeapType, CompileError> {
    match heap {
        wasmparser::HeapType::Abstract { shared: false, ty } => match ty {
            AbstractHeapType::Func => Ok(HeapType::Func),
            AbstractHeapType::Extern => Ok(HeapType::Extern),
            AbstractHeapType::Exn => Ok(HeapType::Exn),
            _ => Err(unsupported(offset, format!("heap type {heap:?}"))),
        },
        _ => Err(unsupported(offset, format!("heap type {heap:?}"))),
    }
}

/// The type of a reference.
pub(super) fn ref_type(ty: wasmparser::RefType, offset: u64) -> Result<RefType, CompileError> {
    Ok(RefType {
        nullable: ty.is_nullable(),
        heap: heap_type(ty.heap_type(), offset)?,
    })
}

/// The type of a value. `offset` is where the type stands in the binary.
pub(super) fn val_type(ty: wasmparser::ValType, offset: u64) -> Result<ValType, CompileError> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => ValType::Ref(ref_type(ty, offset)?),
    })
}

pub(super) fn func_type(ty: &wasmparser::FuncType, offset: u64) -> Result<FuncType, CompileError> {
    let convert = |types: &[wasmparser::ValType]| {
        types
            .iter()
            .map(|ty| val_type(*ty, offset))
            .collect::<Result<Box<[ValType]>, _>>()
    };
    Ok(FuncType {
        params: convert(ty.params())?,
        results: convert(ty.results())?,
    })
}

pub(super) fn table_type(
    ty: &wasmparser::TableType,
    offset: u64,
) -> Result<TableType, CompileError> {
    if ty.shared {
        return Err(unsupported(offset, "shared table"));
    }
    Ok(TableType {
        element: ref_type(ty.element_type, offset)?,
        minimum: ty.initial,
        maximum: ty.maximum,
        table64: ty.table64,
    })
}

pub(super) fn memory_type(
    ty: &wasmparser::MemoryType,
    offset: u64,
) -> Result<MemoryType, CompileError> {
    let page_size_log2 = u8::try_from(ty.page_size_log2())
        .ok()
        .filter(|log2| *log2 <= 16)
        .ok_or_else(|| unsupported(offset, "page size above 64 KiB"))?;
    Ok(MemoryType {
        minimum: ty.initial,
        maximum: ty.maximum,
        memory64: ty.memory64,
        shared: ty.shared,
        page_size_log2,
    })
}

pub(super) fn global_type(
    ty: &wasmparser::GlobalType,
    offset: u64,
) -> Result<GlobalType, CompileError> {
    if ty.shared {
        return Err(unsupported(offset, "shared global"));
    }
    Ok(GlobalType {
        content: val_type(ty.content_type, offset)?,
        mutable: ty.mutable,
    })
}

/// Reads a constant expression. Functions it names escape.
pub(super) fn const_expr(
    expr: &wasmparser::ConstExpr<'_>,
    info: &mut ModuleInfo,
) -> Result<ConstExpr, CompileError> {
    let mut reader = expr.get_operators_reader();
    let mut ops = Vec::new();
    loop {
        let (operator, offset) = reader.read_with_offset()?;
        ops.push(match operator {
            Operator::I32Const { value } => ConstOp::I32Const(value),
            Operator::I64Const { value } => ConstOp::I64Const(value),
            Operator::F32Const { value } => ConstOp::F32Const(value.bits()),
            Operator::F64Const { value } => ConstOp::F64Const(value.bits()),
            Operator::V128Const { value } => {
                ConstOp::V128Const(u128::from_le_bytes(*value.bytes()))
            }
            Operator::GlobalGet { global_index } => {
                ConstOp::GlobalGet(GlobalIndex::from_u32(global_index))
            }
            Operator::RefNull { hty } => ConstOp::RefNull(heap_type(hty, offset)?),
            Operator::RefFunc { function_index } => {
                let function = FuncIndex::from_u32(function_index);
                info.mark_escaping(function);
                ConstOp::RefFunc(function)
            }
            Operator::I32Add => ConstOp::I32Add,
            Operator::I32Sub => ConstOp::I32Sub,
            Operator::I32Mul => ConstOp::I32Mul,
            Operator::I64Add => ConstOp::I64Add,
            Operator::I64Sub => ConstOp::I64Sub,
            Operator::I64Mul => ConstOp::I64Mul,
            Operator::End => return Ok(ConstExpr { ops }),
            other => {
                return Err(unsupported(
                    offset,
                    format!("operator in a constant expression: {other:?}"),
                ));
            }
        });
    }
}
