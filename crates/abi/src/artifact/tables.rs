//! Lookup tables of an artifact. They are read in place, without allocation, and never panic on a table that is cut short
//! or altered: a lookup just finds nothing.

use crate::entity::EntityRef;
use crate::index::{DefinedFuncIndex, FuncIndex, TypeIndex};
use std::ops::Range;

/// Number that stands for "none".
pub(super) const NONE: u32 = u32::MAX;

pub(super) fn read_u32(bytes: &[u8], position: usize) -> Option<u32> {
    let start = position.checked_mul(4)?;
    let word = bytes.get(start..start.checked_add(4)?)?;
    Some(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

pub(super) fn push_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Number of leading positions below `count` whose key is at most `key`, by binary search.
pub(super) fn upper_bound(count: usize, key: u32, key_at: impl Fn(usize) -> Option<u32>) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match key_at(middle) {
            Some(k) if k <= key => low = middle + 1,
            _ => high = middle,
        }
    }
    low
}

/// A piece of `.text`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// Offset in `.text`.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

/// Where the code of each defined function is: `[offset, len]` per function, in order of index and of offset.
#[derive(Copy, Clone, Debug)]
pub struct FunctionTable<'a>(pub &'a [u8]);

impl FunctionTable<'_> {
    /// Encodes the table. Functions must lie in `.text` in the order of their index.
    pub fn encode(functions: &[CodeRange]) -> Vec<u8> {
        debug_assert!(functions.is_sorted_by_key(|f| f.offset));
        let mut out = Vec::with_capacity(functions.len() * 8);
        for f in functions {
            push_u32(&mut out, f.offset);
            push_u32(&mut out, f.len);
        }
        out
    }

    /// Number of functions.
    pub fn len(&self) -> usize {
        self.0.len() / 8
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a function's code is.
    pub fn get(&self, index: DefinedFuncIndex) -> Option<CodeRange> {
        Some(CodeRange {
            offset: read_u32(self.0, index.index() * 2)?,
            len: read_u32(self.0, index.index() * 2 + 1)?,
        })
    }

    /// The function that contains a text offset.
    pub fn find(&self, text_offset: u32) -> Option<(DefinedFuncIndex, CodeRange)> {
        let after = upper_bound(self.len(), text_offset, |i| read_u32(self.0, i * 2));
        let index = DefinedFuncIndex::new(after.checked_sub(1)?);
        let range = self.get(index)?;
        (text_offset - range.offset < range.len).then_some((index, range))
    }
}

/// Text offsets of the trampolines for one function type.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TrampolineOffsets {
    /// Entry trampoline.
    pub entry: u32,
    /// Host shim.
    pub host_shim: u32,
}

/// Where the trampolines of each function type are: `[entry, host shim]` per type, and `u32::MAX` for types that have none. Types
/// whose functions are called alike share trampolines.
#[derive(Copy, Clone, Debug)]
pub struct TrampolineTable<'a>(pub &'a [u8]);

impl TrampolineTable<'_> {
    /// Encodes the table, one entry per [`TypeIndex`].
    pub fn encode(types: &[Option<TrampolineOffsets>]) -> Vec<u8> {
        let mut out = Vec::with_capacity(types.len() * 8);
        for t in types {
            push_u32(&mut out, t.map_or(NONE, |t| t.entry));
            push_u32(&mut out, t.map_or(NONE, |t| t.host_shim));
        }
        out
    }

    /// Where a type's trampolines are, if it has any.
    pub fn get(&self, index: TypeIndex) -> Option<TrampolineOffsets> {
        let offset = |place| read_u32(self.0, place).filter(|offset| *offset != NONE);
        Some(TrampolineOffsets {
            entry: offset(index.index() * 2)?,
            host_shim: offset(index.index() * 2 + 1)?,
        })
    }
}

/// Function names: `count`, then per named function its index, then `count + 1` ends in the text that follows.
#[derive(Copy, Clone, Debug)]
pub struct NameTable<'a>(pub &'a [u8]);

impl<'a> NameTable<'a> {
    /// Encodes the table from names sorted by function index, each at most once.
    pub fn encode<'n>(names: impl IntoIterator<Item = (FuncIndex, &'n str)>) -> Vec<u8> {
        let (mut indices, mut starts, mut text) = (Vec::new(), vec![0u32], String::new());
        for (index, name) in names {
            indices.push(index.as_u32());
            text.push_str(name);
            starts.push(text.len() as u32);
        }
        debug_assert!(indices.is_sorted());
        let mut out = Vec::with_capacity(4 * (1 + indices.len() + starts.len()) + text.len());
        push_u32(&mut out, indices.len() as u32);
        for number in indices.iter().chain(&starts) {
            push_u32(&mut out, *number);
        }
        out.extend_from_slice(text.as_bytes());
        out
    }

    fn text_range(&self, count: usize, position: usize) -> Option<Range<usize>> {
        let text = 4 * (2 + 2 * count);
        let start = read_u32(self.0, 1 + count + position)? as usize;
        let end = read_u32(self.0, 2 + count + position)? as usize;
        Some(text + start..text + end)
    }

    /// A function's name, if it has one.
    pub fn get(&self, index: FuncIndex) -> Option<&'a str> {
        let count = read_u32(self.0, 0)? as usize;
        let after = upper_bound(count, index.as_u32(), |i| read_u32(self.0, i + 1));
        let position = after.checked_sub(1)?;
        if read_u32(self.0, position + 1)? != index.as_u32() {
            return None;
        }
        std::str::from_utf8(self.0.get(self.text_range(count, position)?)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_offset() {
        let bytes = FunctionTable::encode(&[
            CodeRange { offset: 0, len: 10 },
            CodeRange { offset: 16, len: 4 },
        ]);
        let table = FunctionTable(&bytes);
        let found = |offset| table.find(offset).map(|(i, _)| i.as_u32());
        assert_eq!(found(0), Some(0));
        assert_eq!(found(9), Some(0));
        assert_eq!(found(12), None);
        assert_eq!(found(16), Some(1));
        assert_eq!(found(20), None);
    }

    #[test]
    fn names_are_found_and_missing_ones_are_not() {
        let bytes = NameTable::encode([
            (FuncIndex::from_u32(1), "one"),
            (FuncIndex::from_u32(5), "fünf"),
        ]);
        let table = NameTable(&bytes);
        assert_eq!(table.get(FuncIndex::from_u32(1)), Some("one"));
        assert_eq!(table.get(FuncIndex::from_u32(5)), Some("fünf"));
        assert_eq!(table.get(FuncIndex::from_u32(2)), None);
    }

    #[test]
    fn tables_cut_short_find_nothing_and_do_not_panic() {
        let names = NameTable::encode([(FuncIndex::from_u32(0), "name")]);
        for len in 0..names.len() {
            assert_eq!(NameTable(&names[..len]).get(FuncIndex::from_u32(0)), None);
        }
    }
}
