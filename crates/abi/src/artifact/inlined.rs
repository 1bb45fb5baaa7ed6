//! Which code comes from functions that were inlined.

use super::places::AddressMap;
use super::tables::{NONE, push_u32, read_u32};
use crate::index::DefinedFuncIndex;

/// Bytes of a call.
const CALL: usize = 12;

/// A call that was replaced by the body of what it calls.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct InlinedCall {
    /// The function whose body it is.
    pub callee: DefinedFuncIndex,
    /// Where in the binary the call is, if that is kept.
    pub position: Option<u32>,
    /// The number of the inlined call in whose body this one is; `None` if it is in the body of the function whose code it is.
    pub parent: Option<u32>,
}

/// Which code comes from functions that were inlined, and where: `count`, then `count` calls, `[callee, position, parent]` each, then a map.
/// That is an [`AddressMap`] of numbers of calls, where other code is of none: text offsets at which something else begins, and what
/// that is. Of the calls, parents come before those in them.
///
/// Of a module without any, it is empty.
#[derive(Copy, Clone, Debug)]
pub struct InlineTable<'a>(pub &'a [u8]);

impl<'a> InlineTable<'a> {
    /// Encodes the table: where something else begins, sorted, with the number of the call among `calls` that it is of.
    pub fn encode(begins: &[(u32, Option<u32>)], calls: &[InlinedCall]) -> Vec<u8> {
        let mut out = Vec::new();
        if calls.is_empty() {
            return out;
        }
        let map = AddressMap::encode(begins.iter().copied());
        out.reserve(4 + calls.len() * CALL + map.len());
        push_u32(&mut out, calls.len() as u32);
        for call in calls {
            push_u32(&mut out, call.callee.as_u32());
            push_u32(&mut out, call.position.unwrap_or(NONE));
            push_u32(&mut out, call.parent.unwrap_or(NONE));
        }
        out.extend_from_slice(&map);
        out
    }

    /// The inlined calls that the code at a text offset is in the bodies of, innermost first.
    pub fn lookup(&self, text_offset: u32) -> impl Iterator<Item = InlinedCall> + use<'a> {
        let table = *self;
        let mut next = table.innermost(text_offset);
        std::iter::from_fn(move || {
            let number = next?;
            let call = table.call(number)?;
            // Ends on any table.
            next = call.parent.filter(|parent| *parent < number);
            Some(call)
        })
    }

    /// The number of the innermost of them.
    fn innermost(&self, text_offset: u32) -> Option<u32> {
        let calls = (read_u32(self.0, 0)? as usize).checked_mul(CALL)?;
        AddressMap(self.0.get(calls.checked_add(4)?..)?).lookup(text_offset)
    }

    fn call(&self, number: u32) -> Option<InlinedCall> {
        if number >= read_u32(self.0, 0)? {
            return None;
        }
        let start = (number as usize).checked_mul(CALL / 4)?.checked_add(1)?;
        let field = |field| read_u32(self.0, start.checked_add(field)?);
        let some = |value| (value != NONE).then_some(value);
        Some(InlinedCall {
            callee: DefinedFuncIndex::from_u32(field(0)?),
            position: some(field(1)?),
            parent: some(field(2)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(callee: u32, position: Option<u32>, parent: Option<u32>) -> InlinedCall {
        InlinedCall {
            callee: DefinedFuncIndex::from_u32(callee),
            position,
            parent,
        }
    }

    /// Where function 7 is inlined and, in its body, function 8.
    fn table() -> (Vec<u8>, [InlinedCall; 2]) {
        let calls = [call(7, Some(100), None), call(8, None, Some(0))];
        let ranges = [(10, Some(0)), (14, Some(1)), (20, Some(0)), (24, None)];
        (InlineTable::encode(&ranges, &calls), calls)
    }

    fn at(table: &[u8], offset: u32) -> Vec<InlinedCall> {
        InlineTable(table).lookup(offset).collect()
    }

    #[test]
    fn calls_are_found_innermost_first_up_to_where_something_else_begins() {
        let (table, [outer, inner]) = table();
        for (offset, expected) in [
            (0, vec![]),
            (9, vec![]),
            (10, vec![outer]),
            (13, vec![outer]),
            (14, vec![inner, outer]),
            (19, vec![inner, outer]),
            (20, vec![outer]),
            (24, vec![]),
            (u32::MAX, vec![]),
        ] {
            assert_eq!(at(&table, offset), expected, "{offset}");
        }
    }

    #[test]
    fn a_module_without_any_has_an_empty_table() {
        assert!(InlineTable::encode(&[], &[]).is_empty());
        assert!(at(&[], 0).is_empty());
    }

    #[test]
    fn tables_cut_short_or_altered_neither_panic_nor_go_on_forever() {
        let (table, _) = table();
        for len in 0..table.len() {
            for offset in 0..30 {
                assert!(at(&table[..len], offset).len() <= 2);
            }
        }
        for place in 0..table.len() {
            for value in [0, 1, 2, 0x7f, 0xff] {
                let mut altered = table.clone();
                altered[place] = value;
                for offset in 0..30 {
                    assert!(at(&altered, offset).len() <= 2);
                }
            }
        }
    }
}
