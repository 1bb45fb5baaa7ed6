//! From wasmparser's types to the contract's.

use crate::error::CompileError;
use cowling_abi::entity::{EntityRef, PrimaryMap};
use cowling_abi::module::{ConstExpr, ConstOp};
use cowling_abi::{
    ArrayType, CompositeType, FieldType, FuncIndex, FuncType, GlobalIndex, GlobalType, HeapType,
    MemoryType, ModuleInfo, RefType, StorageType, StructType, SubType, TableType, TypeIndex,
    TypeRef, ValType,
};
use wasmparser::{AbstractHeapType, CompositeInnerType, Operator, UnpackedIndex};

fn unsupported(offset: u64, what: impl Into<String>) -> CompileError {
    CompileError::Unsupported {
        offset,
        what: what.into(),
    }
}

/// Says of which kind a type of the module is, so that references to it can be told apart.
pub(crate) trait TypeKinds {
    /// References to the type with this index, which is valid.
    fn reference(&self, index: TypeIndex) -> HeapType;
}

impl TypeKinds for PrimaryMap<TypeIndex, SubType> {
    fn reference(&self, index: TypeIndex) -> HeapType {
        self[index].composite.heap_type(TypeRef::Module(index))
    }
}

/// The types of a module while a recursion group is read.
pub(super) struct TypesAndGroup<'a> {
    /// Those before the group.
    pub(super) before: &'a PrimaryMap<TypeIndex, SubType>,
    /// The group.
    pub(super) group: &'a [(u64, wasmparser::SubType)],
}

impl TypeKinds for TypesAndGroup<'_> {
    fn reference(&self, index: TypeIndex) -> HeapType {
        let Some(position) = index.index().checked_sub(self.before.len()) else {
            return self.before.reference(index);
        };
        let name = TypeRef::Module(index);
        match &self.group[position].1.composite_type.inner {
            CompositeInnerType::Struct(_) => HeapType::ConcreteStruct(name),
            CompositeInnerType::Array(_) => HeapType::ConcreteArray(name),
            // Others are refused when they are reached.
            CompositeInnerType::Func(_) | CompositeInnerType::Cont(_) => {
                HeapType::ConcreteFunc(name)
            }
        }
    }
}

/// What a reference refers to. `offset` is where the type stands in the binary.
pub(crate) fn heap_type(
    heap: wasmparser::HeapType,
    types: &impl TypeKinds,
    offset: u64,
) -> Result<HeapType, CompileError> {
    match heap {
        wasmparser::HeapType::Abstract { shared: false, ty } => match ty {
            AbstractHeapType::Func => Ok(HeapType::Func),
            AbstractHeapType::NoFunc => Ok(HeapType::NoFunc),
            AbstractHeapType::Extern => Ok(HeapType::Extern),
            AbstractHeapType::NoExtern => Ok(HeapType::NoExtern),
            AbstractHeapType::Exn => Ok(HeapType::Exn),
            AbstractHeapType::NoExn => Ok(HeapType::NoExn),
            AbstractHeapType::Any => Ok(HeapType::Any),
            AbstractHeapType::Eq => Ok(HeapType::Eq),
            AbstractHeapType::I31 => Ok(HeapType::I31),
            AbstractHeapType::Struct => Ok(HeapType::Struct),
            AbstractHeapType::Array => Ok(HeapType::Array),
            AbstractHeapType::None => Ok(HeapType::None),
            AbstractHeapType::Cont | AbstractHeapType::NoCont => {
                Err(unsupported(offset, format!("heap type {heap:?}")))
            }
        },
        wasmparser::HeapType::Concrete(UnpackedIndex::Module(index)) => {
            Ok(types.reference(TypeIndex::from_u32(index)))
        }
        _ => Err(unsupported(offset, format!("heap type {heap:?}"))),
    }
}

/// The type of a reference.
pub(crate) fn ref_type(
    ty: wasmparser::RefType,
    types: &impl TypeKinds,
    offset: u64,
) -> Result<RefType, CompileError> {
    Ok(RefType {
        nullable: ty.is_nullable(),
        heap: heap_type(ty.heap_type(), types, offset)?,
    })
}

/// The type of a value. `offset` is where the type stands in the binary.
pub(crate) fn val_type(
    ty: wasmparser::ValType,
    types: &impl TypeKinds,
    offset: u64,
) -> Result<ValType, CompileError> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => ValType::Ref(ref_type(ty, types, offset)?),
    })
}

fn field_type(
    field: &wasmparser::FieldType,
    types: &impl TypeKinds,
    offset: u64,
) -> Result<FieldType, CompileError> {
    Ok(FieldType {
        storage: match field.element_type {
            wasmparser::StorageType::I8 => StorageType::I8,
            wasmparser::StorageType::I16 => StorageType::I16,
            wasmparser::StorageType::Val(ty) => StorageType::Val(val_type(ty, types, offset)?),
        },
        mutable: field.mutable,
    })
}

/// A defined type.
pub(super) fn sub_type(
    ty: &wasmparser::SubType,
    types: &impl TypeKinds,
    offset: u64,
) -> Result<SubType, CompileError> {
    let composite = &ty.composite_type;
    if composite.shared || composite.descriptor_idx.is_some() || composite.describes_idx.is_some() {
        return Err(unsupported(offset, format!("type {composite}")));
    }
    let values = |types_of: &[wasmparser::ValType]| {
        let values = types_of.iter().map(|ty| val_type(*ty, types, offset));
        values.collect::<Result<Box<[ValType]>, _>>()
    };
    let composite = match &composite.inner {
        CompositeInnerType::Func(ty) => CompositeType::Func(FuncType {
            params: values(ty.params())?,
            results: values(ty.results())?,
        }),
        CompositeInnerType::Struct(ty) => {
            let fields = ty
                .fields
                .iter()
                .map(|field| field_type(field, types, offset));
            CompositeType::Struct(StructType {
                fields: fields.collect::<Result<_, _>>()?,
            })
        }
        CompositeInnerType::Array(ty) => CompositeType::Array(ArrayType {
            element: field_type(&ty.0, types, offset)?,
        }),
        CompositeInnerType::Cont(_) => {
            return Err(unsupported(offset, format!("type {composite}")));
        }
    };
    let supertype = ty.supertype_idxs.first().map(|index| match index.unpack() {
        UnpackedIndex::Module(index) => Ok(TypeRef::Module(TypeIndex::from_u32(index))),
        other => Err(unsupported(offset, format!("supertype {other}"))),
    });
    Ok(SubType {
        is_final: ty.is_final,
        supertype: supertype.transpose()?,
        composite,
    })
}

pub(super) fn table_type(
    ty: &wasmparser::TableType,
    types: &impl TypeKinds,
    offset: u64,
) -> Result<TableType, CompileError> {
    if ty.shared {
        return Err(unsupported(offset, "shared table"));
    }
    Ok(TableType {
        element: ref_type(ty.element_type, types, offset)?,
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
    types: &impl TypeKinds,
    offset: u64,
) -> Result<GlobalType, CompileError> {
    if ty.shared {
        return Err(unsupported(offset, "shared global"));
    }
    Ok(GlobalType {
        content: val_type(ty.content_type, types, offset)?,
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
            Operator::RefNull { hty } => ConstOp::RefNull(heap_type(hty, &info.types, offset)?),
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
            Operator::StructNew { struct_type_index } => {
                ConstOp::StructNew(TypeIndex::from_u32(struct_type_index))
            }
            Operator::StructNewDefault { struct_type_index } => {
                ConstOp::StructNewDefault(TypeIndex::from_u32(struct_type_index))
            }
            Operator::ArrayNew { array_type_index } => {
                ConstOp::ArrayNew(TypeIndex::from_u32(array_type_index))
            }
            Operator::ArrayNewDefault { array_type_index } => {
                ConstOp::ArrayNewDefault(TypeIndex::from_u32(array_type_index))
            }
            Operator::ArrayNewFixed {
                array_type_index,
                array_size,
            } => ConstOp::ArrayNewFixed(TypeIndex::from_u32(array_type_index), array_size),
            Operator::RefI31 => ConstOp::RefI31,
            // References of both hierarchies look the same.
            Operator::AnyConvertExtern | Operator::ExternConvertAny => continue,
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
