//! `.text`: where each piece of code goes.
//!
//! ```text
//!   | list of a fixed table | ... | function 0 | pad | function 1 | pad | ... | entry 0 | pad | shim 0 | pad | entry 1 | ...
//! ```
//!
//! Lists that no code refers to are left out. Functions lie in the order of their index, so that a function is found by its offset with a binary search. Padding between
//! pieces is filled with breakpoints: nothing runs there.

use crate::code::{Code, Piece};
use crate::driver::ModuleCode;
use crate::error::CompileError;
use crate::fixed_tables::{ELEMENT_SIZE, FixedTables};
use cowling_abi::artifact::{
    AddressMap, CallSite, Catch, CodeRange, ExceptionTable, FunctionTable, InlineTable,
    InlinedCall, TrampolineOffsets, TrampolineTable, TrapTable,
};
use cowling_abi::entity::PrimaryMap;
use cowling_abi::knobs::Knobs;
use cowling_abi::{DefinedFuncIndex, DefinedTableIndex, ModuleInfo};
use std::collections::BTreeMap;

/// What `.text` may have at most, so that the distance between any two places in it fits a signed 32-bit number.
const LIMIT: u64 = i32::MAX as u64;

/// `int3`
const PADDING: u8 = 0xcc;

/// Where everything is in `.text`.
pub(super) struct Layout {
    /// The lists of fixed tables that code refers to.
    lists: BTreeMap<DefinedTableIndex, CodeRange>,
    functions: PrimaryMap<DefinedFuncIndex, CodeRange>,
    trampolines: Vec<TrampolineOffsets>,
    len: u32,
}

/// The next free place in `.text`.
struct Cursor(u64);

impl Cursor {
    fn place(&mut self, code: &Code) -> Result<CodeRange, CompileError> {
        self.reserve(code.bytes.len() as u64, code.align)
    }

    fn reserve(&mut self, len: u64, align: u32) -> Result<CodeRange, CompileError> {
        let offset = self.0.next_multiple_of(u64::from(align));
        self.0 = offset + len;
        if self.0 > LIMIT {
            return Err(CompileError::TooLarge {
                what: "its machine code has more than 2 GiB".into(),
            });
        }
        Ok(CodeRange {
            offset: offset as u32,
            len: len as u32,
        })
    }
}

impl Layout {
    /// Places all pieces.
    ///
    /// # Errors
    /// When the code is too large.
    pub(super) fn new(code: &ModuleCode, info: &ModuleInfo) -> Result<Layout, CompileError> {
        let mut cursor = Cursor(0);
        let references = code.functions.values().flat_map(|f| &f.references);
        let mut lists: BTreeMap<_, _> = references
            .filter_map(|reference| match reference.to {
                Piece::List(table) => Some((table, CodeRange { offset: 0, len: 0 })),
                Piece::Function(_) => None,
            })
            .collect();
        for (table, range) in &mut lists {
            let elements = code.fixed_tables.elements(info, *table).len() as u64;
            *range = cursor.reserve(elements * u64::from(ELEMENT_SIZE), ELEMENT_SIZE)?;
        }
        let functions = code.functions.values().map(|f| cursor.place(f));
        let functions = functions.collect::<Result<PrimaryMap<_, _>, _>>()?;
        let trampolines = code.trampolines.iter().map(|[entry, shim]| {
            Ok(TrampolineOffsets {
                entry: cursor.place(entry)?.offset,
                host_shim: cursor.place(shim)?.offset,
            })
        });
        Ok(Layout {
            lists,
            functions,
            trampolines: trampolines.collect::<Result<_, CompileError>>()?,
            len: cursor.0 as u32,
        })
    }

    /// Size of `.text` in bytes.
    pub(super) fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Offsets of all pieces, in order.
    fn offsets(&self) -> impl Iterator<Item = u32> + Clone {
        let functions = self.functions.values().map(|range| range.offset);
        let trampolines = self.trampolines.iter();
        functions.chain(trampolines.flat_map(|t| [t.entry, t.host_shim]))
    }

    /// All pieces with their offsets, in order.
    pub(super) fn pieces<'a>(
        &'a self,
        code: &'a ModuleCode,
    ) -> impl Iterator<Item = (u32, &'a Code)> + Clone {
        let trampolines = code.trampolines.iter().flatten();
        self.offsets()
            .zip(code.functions.values().chain(trampolines))
    }

    pub(super) fn function_table(&self) -> Vec<u8> {
        FunctionTable::encode(self.functions.values().as_slice())
    }

    pub(super) fn trampoline_table(&self, code: &ModuleCode) -> Vec<u8> {
        let types = code.types.values();
        let types = types.map(|place| place.map(|place| self.trampolines[place]));
        TrampolineTable::encode(&types.collect::<Vec<_>>())
    }

    pub(super) fn trap_table(&self, code: &ModuleCode) -> Vec<u8> {
        TrapTable::encode(self.pieces(code).flat_map(|(start, code)| {
            code.traps
                .iter()
                .map(move |(offset, trap)| (start + offset, *trap))
        }))
    }

    pub(super) fn exception_table(&self, code: &ModuleCode) -> Vec<u8> {
        let sites = self.pieces(code).flat_map(|(start, code)| {
            code.call_sites.iter().map(move |site| CallSite {
                return_offset: start + site.return_offset,
                catches: site
                    .catches
                    .iter()
                    .map(|catch| Catch {
                        handler: start + catch.handler,
                        ..*catch
                    })
                    .collect(),
                ..*site
            })
        });
        ExceptionTable::encode(&sites.collect::<Vec<_>>())
    }

    pub(super) fn address_map(&self, code: &ModuleCode, knobs: &Knobs) -> Vec<u8> {
        if !knobs.generate_address_map {
            return AddressMap::encode([]);
        }
        let pieces = self.pieces(code).zip(starts(code));
        let entries = pieces.flat_map(|((start, piece), body)| {
            (piece.locations.iter()).map(move |(offset, location)| {
                let position = piece.position(*location, body, &code.starts);
                (start + offset, position)
            })
        });
        AddressMap::encode(entries)
    }

    pub(super) fn inline_table(&self, code: &ModuleCode, knobs: &Knobs) -> Vec<u8> {
        let (mut ranges, mut calls) = (Vec::new(), Vec::new());
        for ((start, piece), body) in self.pieces(code).zip(starts(code)) {
            if piece.sites.is_empty() {
                continue;
            }
            let first = calls.len() as u32;
            let number = |site: Option<u32>| site.map(|site| first + site);
            calls.extend(piece.sites.iter().map(|site| {
                InlinedCall {
                    callee: site.callee,
                    position: (piece.position(site.call, body, &code.starts))
                        .filter(|_| knobs.generate_address_map),
                    parent: number(site.parent),
                }
            }));
            let begins = piece.begins_of_sites();
            ranges.extend(begins.map(|(offset, site)| (start + offset, number(site))));
        }
        InlineTable::encode(&ranges, &calls)
    }

    /// Writes `.text`, giving each piece back to the allocator as soon as it is written.
    pub(super) fn write(&self, code: ModuleCode, info: &ModuleInfo, out: &mut dyn FnMut(&[u8])) {
        let mut end = 0;
        for (table, range) in &self.lists {
            self.write_list(&code.fixed_tables, info, *table, range.offset, out);
            end = range.offset + range.len;
        }
        let trampolines = code.trampolines.into_iter().flatten();
        let pieces = code.functions.into_values();
        for (start, mut piece) in self.offsets().zip(pieces.chain(trampolines)) {
            self.connect(start, &mut piece);
            let padding = [PADDING; 64];
            let mut gap = (start - end) as usize;
            while gap > 0 {
                let step = gap.min(padding.len());
                out(&padding[..step]);
                gap -= step;
            }
            out(&piece.bytes);
            end = start + piece.bytes.len() as u32;
        }
    }

    /// Writes the list of a fixed table.
    fn write_list(
        &self,
        tables: &FixedTables,
        info: &ModuleInfo,
        table: DefinedTableIndex,
        start: u32,
        out: &mut dyn FnMut(&[u8]),
    ) {
        for (number, function) in tables.elements(info, table) {
            let distance = function.map_or(0, |f| self.functions[f].offset - start);
            let element = u64::from(distance) << 32 | u64::from(number);
            out(&element.to_le_bytes());
        }
    }

    /// Fills in the distances to the pieces that a piece refers to.
    fn connect(&self, start: u32, piece: &mut Code) {
        for reference in &piece.references {
            let place = i64::from(start + reference.offset);
            let to = i64::from(match reference.to {
                Piece::Function(index) => self.functions[index].offset,
                Piece::List(table) => self.lists[&table].offset,
            });
            // `LIMIT` keeps every distance in range.
            let distance = (to - place + reference.addend) as i32;
            let at = reference.offset as usize;
            piece.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
    }
}

/// For each piece, where in the binary its function's body begins. Trampolines, of which nothing is anywhere in the binary, have 0.
fn starts(code: &ModuleCode) -> impl Iterator<Item = u32> + Clone {
    let functions = code.starts.values().copied();
    functions.chain(std::iter::repeat(0))
}
