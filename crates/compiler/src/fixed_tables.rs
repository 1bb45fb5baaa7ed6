//! Tables of functions that never change, and how calls through them get by without an instance's table.
//!
//! A table is *fixed* if it is neither imported nor exported, no operator of the module writes to it, and all that it begins with has been
//! laid out ahead of time. Then what is in it is known when the module is compiled, for all instances, and compiled code has it as a list
//! beside it, in `.text`:
//!
//! ```text
//!   list + 0    | number of a type | distance of the code from the list |     element 0, as a 64-bit number: the type below
//!   list + 8    | number of a type | distance of the code from the list |     element 1
//!   ...                                                                       as many as the table has
//! ```
//!
//! `call_indirect` compares the type with the number it expects, and calls. It needs no engine-wide type id, and no `VmFuncRef` that would
//! have to be built in each instance at its first use; the context is the caller's own.
//!
//! | number | type |
//! |---|---|
//! | 0 | null |
//! | `n + 1` | *plain*, and the first that is equal to it is type `n` |
//! | [`OTHER`] | every other |
//!
//! A type is *plain* if it is final, a recursion group by itself, without a supertype, and names no other. Two plain types are the
//! same type exactly if they look the same, and no type that is not plain is a plain one, or below it. So for a call that expects a plain
//! type, to compare numbers is the whole check. Calls that expect another, or a type of which the table has an imported function, go by
//! the instance's table.

use crate::error::CompileError;
use crate::parse::Parsed;
use crate::queue;
use cowling_abi::entity::{EntityRef, PrimaryMap};
use cowling_abi::knobs::Knobs;
use cowling_abi::module::SegmentMode;
use cowling_abi::{
    DefinedFuncIndex, DefinedTableIndex, EntityIndex, FuncIndex, FuncType, ModuleInfo, TableIndex,
    TypeIndex,
};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use wasmparser::{BinaryReaderError, FunctionBody, Operator};

/// Bytes of an element of a list.
pub(crate) const ELEMENT_SIZE: u32 = 8;

/// The number of null.
const NULL: u32 = 0;

/// The number of types that no call by a list expects.
const OTHER: u32 = u32::MAX;

/// How many elements a list may have in any case. Longer ones are at most twice as long as what the module says of them.
const FREE_ELEMENTS: u64 = 64;

/// The fixed tables of a module.
pub(crate) struct FixedTables {
    /// Which tables are fixed.
    tables: PrimaryMap<DefinedTableIndex, bool>,
    /// The number of each type.
    numbers: PrimaryMap<TypeIndex, u32>,
    /// Types, by number, of imported functions in fixed tables.
    imported: HashSet<(DefinedTableIndex, u32)>,
}

/// A call by a list.
pub(crate) struct FixedCall {
    /// Whose list.
    pub(crate) table: DefinedTableIndex,
    /// The number of the type that is expected.
    pub(crate) number: u32,
}

impl FixedTables {
    /// Finds them. What the module begins with must have been laid out.
    ///
    /// # Errors
    /// None of its own.
    pub(crate) fn find(parsed: &Parsed<'_>, knobs: &Knobs) -> Result<FixedTables, CompileError> {
        let info = &parsed.info;
        let mut tables: PrimaryMap<DefinedTableIndex, bool> = (info.table_inits.keys())
            .map(|defined| is_settled(info, defined))
            .collect();
        for export in info.exports.values() {
            if let EntityIndex::Table(table) = *export
                && let Some(defined) = info.defined_table(table)
            {
                tables[defined] = false;
            }
        }
        for segment in info.elements.values() {
            if let SegmentMode::Active { target, .. } = segment.mode
                && let Some(defined) = info.defined_table(target)
            {
                tables[defined] = false;
            }
        }
        if tables.values().any(|fixed| *fixed) {
            for table in written(parsed, knobs)? {
                if let Some(defined) = info.defined_table(table) {
                    tables[defined] = false;
                }
            }
        }
        let numbers = numbers(info);
        let mut imported = HashSet::new();
        for (table, _) in tables.iter().filter(|(_, fixed)| **fixed) {
            for function in info.table_inits[table].functions.iter().flatten() {
                if info.is_imported_func(*function) {
                    imported.insert((table, numbers[info.functions[*function].ty]));
                }
            }
        }
        Ok(FixedTables {
            tables,
            numbers,
            imported,
        })
    }

    /// How to call a function of a type in a table by a list, if that is possible.
    pub(crate) fn call(
        &self,
        info: &ModuleInfo,
        table: TableIndex,
        ty: TypeIndex,
    ) -> Option<FixedCall> {
        let table = info.defined_table(table)?;
        let number = self.numbers[ty];
        let possible =
            self.tables[table] && number != OTHER && !self.imported.contains(&(table, number));
        possible.then_some(FixedCall { table, number })
    }

    /// The function that a call finds at an index that is known.
    pub(crate) fn callee(
        &self,
        info: &ModuleInfo,
        call: &FixedCall,
        index: u64,
    ) -> Option<FuncIndex> {
        let functions = &info.table_inits[call.table].functions;
        let function = (*functions.get(usize::try_from(index).ok()?)?)?;
        (self.numbers[info.functions[function].ty] == call.number).then_some(function)
    }

    /// The elements of a list: numbers of types, and functions that are of this module.
    pub(crate) fn elements(
        &self,
        info: &ModuleInfo,
        table: DefinedTableIndex,
    ) -> impl ExactSizeIterator<Item = (u32, Option<DefinedFuncIndex>)> {
        let functions = &info.table_inits[table].functions;
        (0..len(info, table) as usize).map(move |element| {
            let Some(function) = functions.get(element).copied().flatten() else {
                return (NULL, None);
            };
            match info.defined_func(function) {
                Some(defined) => (self.numbers[info.functions[function].ty], Some(defined)),
                None => (OTHER, None),
            }
        })
    }
}

/// How many elements a table begins with.
fn len(info: &ModuleInfo, table: DefinedTableIndex) -> u64 {
    info.tables[info.table_index(table)].minimum
}

/// Are they known, and not too many beside what the module says of them?
fn is_settled(info: &ModuleInfo, table: DefinedTableIndex) -> bool {
    let init = &info.table_inits[table];
    let named = init.functions.iter().flatten().count() as u64;
    let holds_functions = info.tables[info.table_index(table)].element.heap.is_func();
    holds_functions
        && init.fill.is_none()
        && named > 0
        && len(info, table) <= FREE_ELEMENTS.max(2 * named)
}

/// Tables that operators of the module write to. A body that is not valid may be left out, as it is refused when it is lowered.
fn written(parsed: &Parsed<'_>, knobs: &Knobs) -> Result<Vec<TableIndex>, CompileError> {
    let written: Vec<AtomicBool> = (parsed.info.tables.keys())
        .map(|_| AtomicBool::new(false))
        .collect();
    let order = queue::costly_first(parsed.bodies.len(), |task| {
        let body = &parsed.bodies[DefinedFuncIndex::new(task)].body;
        body.as_bytes().len() as u64
    });
    let task = |(): &mut (), task: usize| {
        // What goes wrong goes wrong again when the body is lowered.
        let _ = note_written(&parsed.bodies[DefinedFuncIndex::new(task)].body, &written);
        Ok(())
    };
    queue::run(&order, knobs.parallel_compilation, || (), task)?;
    let tables = parsed.info.tables.keys().zip(&written);
    let written = tables.filter(|(_, written)| written.load(Ordering::Relaxed));
    Ok(written.map(|(table, _)| table).collect())
}

/// `table.set`
const TABLE_SET: u8 = 0x26;

/// The first byte of the others that write to tables.
const PREFIX: u8 = 0xfc;

fn note_written(body: &FunctionBody<'_>, written: &[AtomicBool]) -> Result<(), BinaryReaderError> {
    let bytes = body.as_bytes();
    if !bytes.contains(&TABLE_SET) && !bytes.contains(&PREFIX) {
        return Ok(());
    }
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        if let Operator::TableSet { table }
        | Operator::TableGrow { table }
        | Operator::TableFill { table }
        | Operator::TableInit { table, .. }
        | Operator::TableCopy {
            dst_table: table, ..
        } = operators.read()?
            && let Some(written) = written.get(table as usize)
        {
            written.store(true, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The number of each type.
fn numbers(info: &ModuleInfo) -> PrimaryMap<TypeIndex, u32> {
    let mut known: HashMap<&FuncType, u32> = HashMap::new();
    let mut alone = vec![false; info.types.len()];
    for group in info.groups() {
        if group.start.index() + 1 == group.end.index() {
            alone[group.start.index()] = true;
        }
    }
    let numbers = info.types.iter().map(|(index, ty)| {
        let plain = alone[index.index()] && ty.is_final && ty.type_refs().next().is_none();
        match ty.composite.as_func() {
            Some(func) if plain => *known.entry(func).or_insert(index.as_u32() + 1),
            _ => OTHER,
        }
    });
    numbers.collect()
}
