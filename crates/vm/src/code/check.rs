//! Are all indices and ranges of a module's facts in bounds?
//!
//! The runtime indexes freely with what it finds in a [`ModuleInfo`]; this is why it may.

use super::LoadError;
use super::sections::Sections;
use crate::sys::PAGE_SIZE;
use cowling_abi::artifact::{CodeRange, FunctionTable, IMAGE_ALIGN, TrampolineTable};
use cowling_abi::entity::{EntityRef, PrimaryMap};
use cowling_abi::layout::VmLayout;
use cowling_abi::module::{ConstExpr, ConstOp, ElementItems, SegmentMode};
use cowling_abi::*;
use std::fmt::Display;
use std::ops::Range;

type Result<T = ()> = std::result::Result<T, LoadError>;

fn require(condition: bool, what: impl FnOnce() -> String) -> Result {
    if condition {
        Ok(())
    } else {
        Err(LoadError::Malformed(what()))
    }
}

fn has<K: EntityRef + Display, V>(map: &PrimaryMap<K, V>, index: K, user: &str) -> Result {
    require(map.is_valid(index), || {
        format!("{user} names {index}, which does not exist")
    })
}

/// Checks a module's facts, and the ranges in them against the sections of its artifact, if it has one.
///
/// # Errors
/// Names the first contradiction.
pub(super) fn info(info: &ModuleInfo, sections: Option<&Sections>) -> Result<VmLayout> {
    index_spaces(info)?;
    if sections.is_some() {
        defined_types(info)?;
    }
    types_and_sizes(info)?;
    imports_and_exports(info)?;
    initial_contents(info)?;
    segments(info, sections.map_or(0, |s| s.data.len()))?;
    images(info, sections.map_or(0, |s| s.images.len()))?;
    VmLayout::new(info)
        .ok_or_else(|| LoadError::Malformed("its instances would be too large".into()))
}

/// Checks the tables of code offsets. Where each function's code is is checked when it is asked for: [`code_range`].
///
/// # Errors
/// Names the first contradiction.
pub(super) fn tables(
    info: &ModuleInfo,
    functions: FunctionTable<'_>,
    trampolines: TrampolineTable<'_>,
    text_len: usize,
) -> Result {
    let count = info.defined_func_count();
    require(functions.len() == count, || {
        format!(
            "it defines {count} functions but has code for {}",
            functions.len()
        )
    })?;
    let functions = info
        .types
        .iter()
        .filter(|(_, ty)| ty.composite.as_func().is_some());
    for (index, _) in functions {
        let inside = trampolines
            .get(index)
            .is_some_and(|t| (t.entry.max(t.host_shim) as usize) < text_len);
        require(inside, || {
            format!("trampolines of {index} are missing or outside its text")
        })?;
    }
    Ok(())
}

/// Checks where the code of every function is. Only for those who read the whole artifact anyway.
///
/// # Errors
/// When the code of one lies outside the text.
pub(super) fn functions(functions: FunctionTable<'_>, text_len: usize) -> Result {
    let mut all = (0..functions.len()).map(DefinedFuncIndex::new);
    require(
        all.all(|index| code_range(functions, index, text_len).is_some()),
        || "code of a function lies outside its text".into(),
    )
}

/// Where a function's code is, if there is such a function and its code lies in the text.
pub(super) fn code_range(
    functions: FunctionTable<'_>,
    index: DefinedFuncIndex,
    text_len: usize,
) -> Option<CodeRange> {
    let range = functions.get(index)?;
    let end = u64::from(range.offset) + u64::from(range.len);
    (range.len > 0 && end <= text_len as u64).then_some(range)
}

fn index_spaces(info: &ModuleInfo) -> Result {
    for (what, imported, all) in [
        ("functions", info.imported_functions, info.functions.len()),
        ("tables", info.imported_tables, info.tables.len()),
        ("memories", info.imported_memories, info.memories.len()),
        ("globals", info.imported_globals, info.globals.len()),
        ("tags", info.imported_tags, info.tags.len()),
    ] {
        require(imported as usize <= all, || {
            format!("it imports {imported} of {all} {what}")
        })?;
    }
    for (what, defined, described) in [
        (
            "globals",
            info.defined_global_count(),
            info.global_inits.len(),
        ),
        ("tables", info.defined_table_count(), info.table_inits.len()),
        (
            "memories",
            info.defined_memory_count(),
            info.memory_images.len(),
        ),
    ] {
        require(defined == described, || {
            format!("it defines {defined} {what} but describes {described}")
        })?;
    }
    Ok(())
}

/// Checks that groups cover all types, and that each type names others as what they are, in its own group or before it.
fn defined_types(info: &ModuleInfo) -> Result {
    let mut start = 0;
    for group in info.groups() {
        let end = group.end.index();
        require(start <= end && end <= info.types.len(), || {
            format!("a recursion group ends at {}", group.end)
        })?;
        for ty in &info.types.values().as_slice()[start..end] {
            if let Some(supertype) = ty.supertype {
                let known = matches!(supertype, TypeRef::Module(index) if index.index() < end);
                require(known, || format!("a type has supertype {supertype:?}"))?;
            }
            for value in ty.val_types() {
                named(info, value, end)?;
            }
        }
        start = end;
    }
    require(start == info.types.len(), || {
        format!(
            "its recursion groups have {start} of {} types",
            info.types.len()
        )
    })?;
    let all = info.types.len();
    for table in info.tables.values() {
        named(info, ValType::Ref(table.element), all)?;
    }
    for global in info.globals.values() {
        named(info, global.content, all)?;
    }
    for segment in info.elements.values() {
        named(info, ValType::Ref(segment.ty), all)?;
    }
    Ok(())
}

/// Checks that a type that a value type names exists below `end` and is what it is named as.
fn named(info: &ModuleInfo, ty: ValType, end: usize) -> Result {
    let ValType::Ref(RefType { heap, .. }) = ty else {
        return Ok(());
    };
    let fits = match heap.concrete() {
        None => true,
        Some(name @ TypeRef::Module(index)) if index.index() < end => {
            info.types[index].composite.heap_type(name) == heap
        }
        Some(_) => false,
    };
    require(fits, || format!("something is of type {ty}"))
}

fn function_type(info: &ModuleInfo, index: TypeIndex, user: &str) -> Result {
    has(&info.types, index, user)?;
    require(info.types[index].composite.as_func().is_some(), || {
        format!("{user} is of {index}, which is no function type")
    })
}

fn types_and_sizes(info: &ModuleInfo) -> Result {
    let escaping = info.escaping_functions;
    // Large programs have a hundred thousand functions, and few types.
    let types = info.types.values();
    let may_have_functions: Vec<bool> =
        (types.map(|ty| ty.composite.as_func().is_some())).collect();
    for (index, function) in &info.functions {
        if may_have_functions.get(function.ty.index()) != Some(&true) {
            function_type(info, function.ty, "a function")?;
        }
        let in_range = function
            .funcref
            .is_none_or(|place| place.as_u32() < escaping);
        require(in_range, || {
            format!("{index} has a funcref past {escaping}")
        })?;
    }
    require(escaping as usize <= info.functions.len(), || {
        format!("{escaping} of {} functions escape", info.functions.len())
    })?;
    for ty in info.tags.values() {
        function_type(info, *ty, "a tag")?;
    }
    for (index, memory) in &info.memories {
        let sane = memory.page_size_log2 <= 16 && memory.minimum <= memory.maximum_pages();
        // The type cannot be printed: its page size may be one that does not exist.
        require(sane, || format!("{index} has an impossible type"))?;
    }
    for (index, table) in &info.tables {
        let sane = table.maximum.is_none_or(|maximum| table.minimum <= maximum);
        require(sane, || format!("{index} has an impossible type {table}"))?;
    }
    Ok(())
}

fn entity(info: &ModuleInfo, index: EntityIndex, user: &str) -> Result {
    match index {
        EntityIndex::Func(i) => has(&info.functions, i, user),
        EntityIndex::Table(i) => has(&info.tables, i, user),
        EntityIndex::Memory(i) => has(&info.memories, i, user),
        EntityIndex::Global(i) => has(&info.globals, i, user),
        EntityIndex::Tag(i) => has(&info.tags, i, user),
    }
}

fn imports_and_exports(info: &ModuleInfo) -> Result {
    // Imports fill the index spaces in order, so each kind counts up and ends where the space says.
    let (mut functions, mut tables, mut memories, mut globals, mut tags) = (0, 0, 0, 0, 0);
    for import in &info.imports {
        let (next, index) = match import.entity {
            EntityIndex::Func(i) => (&mut functions, i.as_u32()),
            EntityIndex::Table(i) => (&mut tables, i.as_u32()),
            EntityIndex::Memory(i) => (&mut memories, i.as_u32()),
            EntityIndex::Global(i) => (&mut globals, i.as_u32()),
            EntityIndex::Tag(i) => (&mut tags, i.as_u32()),
        };
        require(*next == index, || {
            format!(
                "import {:?}.{:?} is out of order",
                import.module, import.field
            )
        })?;
        *next += 1;
    }
    let counted = [functions, tables, memories, globals, tags];
    let declared = [
        info.imported_functions,
        info.imported_tables,
        info.imported_memories,
        info.imported_globals,
        info.imported_tags,
    ];
    require(counted == declared, || {
        "imports are missing or superfluous".into()
    })?;
    for (name, &index) in &info.exports {
        entity(info, index, "an export")?;
        if let EntityIndex::Func(function) = index {
            require(info.functions[function].funcref.is_some(), || {
                format!("exported function {name:?} has no funcref")
            })?;
        }
    }
    if let Some(start) = info.start {
        has(&info.functions, start, "the start function")?;
    }
    Ok(())
}

/// Checks that an expression can be evaluated: its indices exist, and it ends with exactly one value.
fn expression(info: &ModuleInfo, expression: &ConstExpr, user: &str) -> Result {
    let lacks = || format!("{user}: an operator lacks operands");
    let mut depth = 0usize;
    for op in &expression.ops {
        match *op {
            ConstOp::I32Const(_)
            | ConstOp::I64Const(_)
            | ConstOp::F32Const(_)
            | ConstOp::F64Const(_)
            | ConstOp::V128Const(_) => depth += 1,
            ConstOp::RefNull(heap) => {
                let in_module = matches!(heap.concrete(), Some(TypeRef::Module(_)));
                if in_module {
                    let ty = RefType {
                        nullable: true,
                        heap,
                    };
                    named(info, ValType::Ref(ty), info.types.len())?;
                }
                depth += 1;
            }
            ConstOp::RefI31 => require(depth >= 1, lacks)?,
            ConstOp::StructNew(ty) => {
                let fields = field_count(info, ty, user)?;
                require(depth >= fields, lacks)?;
                depth = depth - fields + 1;
            }
            ConstOp::StructNewDefault(ty) => {
                field_count(info, ty, user)?;
                depth += 1;
            }
            ConstOp::ArrayNew(ty) => {
                array_type(info, ty, user)?;
                require(depth >= 2, lacks)?;
                depth -= 1;
            }
            ConstOp::ArrayNewDefault(ty) => {
                array_type(info, ty, user)?;
                require(depth >= 1, lacks)?;
            }
            ConstOp::ArrayNewFixed(ty, len) => {
                array_type(info, ty, user)?;
                require(depth >= len as usize, lacks)?;
                depth = depth - len as usize + 1;
            }
            ConstOp::GlobalGet(global) => {
                has(&info.globals, global, user)?;
                depth += 1;
            }
            ConstOp::RefFunc(function) => {
                escaping(info, function, user)?;
                depth += 1;
            }
            ConstOp::I32Add
            | ConstOp::I32Sub
            | ConstOp::I32Mul
            | ConstOp::I64Add
            | ConstOp::I64Sub
            | ConstOp::I64Mul => {
                require(depth >= 2, lacks)?;
                depth -= 1;
            }
        }
    }
    require(depth == 1, || {
        format!("{user}: an expression leaves {depth} values")
    })
}

/// How many fields a struct type has.
fn field_count(info: &ModuleInfo, ty: TypeIndex, user: &str) -> Result<usize> {
    has(&info.types, ty, user)?;
    let fields = match &info.types[ty].composite {
        CompositeType::Struct(ty) => Some(ty.fields.len()),
        _ => None,
    };
    require(fields.is_some(), || {
        format!("{user} makes a struct of {ty}, which is not a struct type")
    })?;
    Ok(fields.unwrap_or(0))
}

fn array_type(info: &ModuleInfo, ty: TypeIndex, user: &str) -> Result {
    has(&info.types, ty, user)?;
    let is_array = matches!(info.types[ty].composite, CompositeType::Array(_));
    require(is_array, || {
        format!("{user} makes an array of {ty}, which is not an array type")
    })
}

/// Checks that a function exists and has a place for its funcref.
fn escaping(info: &ModuleInfo, function: FuncIndex, user: &str) -> Result {
    has(&info.functions, function, user)?;
    require(info.functions[function].funcref.is_some(), || {
        format!("{user} names {function}, which has no funcref")
    })
}

fn initial_contents(info: &ModuleInfo) -> Result {
    for init in info.global_inits.values() {
        expression(info, init, "a global")?;
    }
    for (index, init) in &info.table_inits {
        if let Some(fill) = &init.fill {
            expression(info, fill, "a table")?;
        }
        let table = info.tables[info.table_index(index)];
        require(init.functions.len() as u64 <= table.minimum, || {
            format!("{index} has more initial elements than elements")
        })?;
        for &function in init.functions.iter().flatten() {
            escaping(info, function, "a table")?;
        }
    }
    Ok(())
}

fn segments(info: &ModuleInfo, data_len: usize) -> Result {
    for segment in info.elements.values() {
        if let SegmentMode::Active { target, offset } = &segment.mode {
            has(&info.tables, *target, "an element segment")?;
            expression(info, offset, "an element segment")?;
        }
        match &segment.items {
            ElementItems::Functions(functions) => {
                for &function in functions {
                    escaping(info, function, "an element segment")?;
                }
            }
            ElementItems::Expressions(expressions) => {
                for item in expressions {
                    expression(info, item, "an element segment")?;
                }
            }
        }
    }
    for segment in info.data.values() {
        if let SegmentMode::Active { target, offset } = &segment.mode {
            has(&info.memories, *target, "a data segment")?;
            expression(info, offset, "a data segment")?;
        }
        range_in(&segment.bytes, data_len, "a data segment")?;
    }
    Ok(())
}

fn range_in(range: &Range<u64>, len: usize, user: &str) -> Result {
    require(range.start <= range.end && range.end <= len as u64, || {
        format!("{user} has bytes {range:?} of a section of {len}")
    })
}

fn images(info: &ModuleInfo, images_len: usize) -> Result {
    for (index, image) in &info.memory_images {
        let Some(image) = image else { continue };
        range_in(&image.bytes, images_len, "a memory image")?;
        let len = image.bytes.end - image.bytes.start;
        let aligned = [image.memory_offset, image.bytes.start, len]
            .iter()
            .all(|n| n.is_multiple_of(IMAGE_ALIGN));
        require(aligned, || {
            format!("the image of {index} is not page aligned")
        })?;
        let memory = info.memories[info.memory_index(index)];
        let size = memory
            .minimum_bytes()
            .and_then(|bytes| bytes.checked_next_multiple_of(PAGE_SIZE as u64));
        let end = image.memory_offset.checked_add(len);
        let fits = matches!((end, size), (Some(end), Some(size)) if end <= size);
        require(fits, || {
            format!("the image of {index} does not fit the memory")
        })?;
    }
    Ok(())
}
