//! Tables that say something of places in `.text`: many small facts, so they are written down as differences from the one before.
//!
//! ```text
//!   count                  blocks
//!   count x first          text offset that a block's first entry counts from
//!   count x start          where the block begins in the bytes that follow; the next one's start is its end
//!   bytes                  entries, one after the other
//! ```
//!
//! A lookup finds its block by binary search and runs through it, in place: nothing is decoded when a module is loaded, and nothing
//! is allocated, ever. A table that is cut short or altered gives wrong answers or none, but no panic, and no lookup takes longer than the
//! bytes there are. [`TrapTable::lookup`] is called in signal handlers.

use super::tables::{push_u32, read_u32, upper_bound};
use crate::trap::TrapSite;

/// Entries of a block, at most: a few bytes of index for about two hundred of entries.
const BLOCK: usize = 128;

/// Where a table's blocks are.
#[derive(Copy, Clone, Debug)]
struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    fn count(self) -> usize {
        read_u32(self.0, 0).unwrap_or(0) as usize
    }

    /// The first text offset and the entries of a block.
    fn get(self, block: usize) -> Option<(u32, Bytes<'a>)> {
        let count = self.count();
        let starts = count.checked_add(1)?;
        let entries = self.0.get(starts.checked_add(count)?.checked_mul(4)?..)?;
        let start = read_u32(self.0, starts.checked_add(block)?)? as usize;
        let end = match block + 1 < count {
            true => read_u32(self.0, starts.checked_add(block)?.checked_add(1)?)? as usize,
            false => entries.len(),
        };
        let first = read_u32(self.0, block.checked_add(1)?)?;
        Some((first, Bytes(entries.get(start..end)?)))
    }

    /// The block whose entries may say something of a text offset: the last one that begins at or before it.
    fn find(self, text_offset: u32) -> Option<(u32, Bytes<'a>)> {
        let after = upper_bound(self.count(), text_offset, |i| read_u32(self.0, i + 1));
        self.get(after.checked_sub(1)?)
    }
}

/// A table being written.
#[derive(Default)]
struct Writer {
    firsts: Vec<u32>,
    starts: Vec<u32>,
    entries: Vec<u8>,
    /// Entries of the last block.
    filled: usize,
    /// Text offset of the last entry.
    last: u32,
}

impl Writer {
    /// Begins an entry: the distance from the one before, and whether it is the first of its block.
    fn entry(&mut self, text_offset: u32) -> (u32, bool) {
        debug_assert!(self.last <= text_offset, "entries are sorted");
        let new = self.firsts.is_empty() || self.filled == BLOCK;
        if new {
            self.firsts.push(text_offset);
            self.starts.push(self.entries.len() as u32);
            self.filled = 0;
            self.last = text_offset;
        }
        let distance = text_offset - self.last;
        self.filled += 1;
        self.last = text_offset;
        (distance, new)
    }

    fn finish(self) -> Vec<u8> {
        let numbers = 1 + self.firsts.len() + self.starts.len();
        let mut out = Vec::with_capacity(4 * numbers + self.entries.len());
        push_u32(&mut out, self.firsts.len() as u32);
        for number in self.firsts.iter().chain(&self.starts) {
            push_u32(&mut out, *number);
        }
        out.extend_from_slice(&self.entries);
        out
    }
}

/// Seven bits a byte, the low ones first; all but the last byte have the high bit.
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is left of a block.
#[derive(Copy, Clone, Debug)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// Which trap an instruction means. An entry is the distance from the one before it, doubled, as a varint; if it is odd, the
/// number of a [`TrapSite`] follows, and else it is the same as the one before.
#[derive(Copy, Clone, Debug)]
pub struct TrapTable<'a>(pub &'a [u8]);

impl<'a> TrapTable<'a> {
    /// Encodes the table from text offsets of trapping instructions, sorted by offset.
    pub fn encode<T: Into<TrapSite>>(traps: impl IntoIterator<Item = (u32, T)>) -> Vec<u8> {
        let mut out = Writer::default();
        let mut site = 0;
        for (offset, trap) in traps {
            let trap = trap.into().to_u8();
            let (distance, first) = out.entry(offset);
            let other = first || site != trap;
            let entry = (u64::from(distance) << 1) | u64::from(other);
            push_varint(&mut out.entries, entry);
            if other {
                out.entries.push(trap);
                site = trap;
            }
        }
        out.finish()
    }

    /// The entries, sorted by text offset.
    pub fn iter(&self) -> impl Iterator<Item = (u32, TrapSite)> + use<'a> {
        let blocks = Blocks(self.0);
        // Blocks that are not there end it.
        (0..blocks.count())
            .map_while(move |block| blocks.get(block))
            .flat_map(|(first, entries)| Sites::new(first, entries))
    }

    /// What it means that the instruction at exactly this text offset traps. Async-signal-safe: reads memory, nothing else.
    pub fn lookup(&self, text_offset: u32) -> Option<TrapSite> {
        let (first, entries) = Blocks(self.0).find(text_offset)?;
        let mut sites = Sites::new(first, entries);
        let (offset, site) = sites.find(|(offset, _)| *offset >= text_offset)?;
        (offset == text_offset).then_some(site)
    }
}

/// The entries of one block of a trap table.
struct Sites<'a> {
    entries: Bytes<'a>,
    offset: u32,
    site: u8,
}

impl<'a> Sites<'a> {
    fn new(first: u32, entries: Bytes<'a>) -> Self {
        Sites {
            entries,
            offset: first,
            site: 0,
        }
    }
}

impl Iterator for Sites<'_> {
    type Item = (u32, TrapSite);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.varint()?;
        let distance = u32::try_from(entry >> 1).ok()?;
        self.offset = self.offset.checked_add(distance)?;
        if entry & 1 != 0 {
            self.site = self.entries.byte()?;
        }
        Some((self.offset, TrapSite::from_u8(self.site)?))
    }
}

/// Which byte of the binary an instruction comes from: entries are text offsets at which a new position begins, each with the position,
/// if it has one. A function's first instructions, which are of none of its operators, come from the start of its body.
///
/// ```text
///   entry = byte [distance from the entry before: 4 bits][position: 4 bits], then what did not fit
///     distance   0..=14: 2 more than this;  15: a varint follows
///     position   0: none;  1..=14: as much behind the last one of the block;  15: the difference follows as a zigzag varint
/// ```
///
/// Four of five entries are one byte.
#[derive(Copy, Clone, Debug)]
pub struct AddressMap<'a>(pub &'a [u8]);

/// Stands for a number that did not fit in four bits.
const FOLLOWS: u8 = 15;
/// The shortest distance that fits: instructions of one byte are rare.
const SHORTEST: u32 = 2;

impl<'a> AddressMap<'a> {
    /// Encodes the map from `(text offset, position in the binary)` pairs, sorted by text offset.
    pub fn encode(entries: impl IntoIterator<Item = (u32, Option<u32>)>) -> Vec<u8> {
        let mut out = Writer::default();
        let mut last = 0;
        for (offset, position) in entries {
            let (distance, first) = out.entry(offset);
            if first {
                last = 0;
            }
            let short = distance.checked_sub(SHORTEST);
            let short = short.filter(|&d| d < u32::from(FOLLOWS));
            let step = position.map(|position| i64::from(position) - i64::from(last));
            let code = match step {
                None => 0,
                Some(step @ 1..15) => step as u8,
                Some(_) => FOLLOWS,
            };
            let distance_code = short.map_or(FOLLOWS, |short| short as u8);
            out.entries.push((distance_code << 4) | code);
            if distance_code == FOLLOWS {
                push_varint(&mut out.entries, u64::from(distance));
            }
            if let Some(step) = step.filter(|_| code == FOLLOWS) {
                push_varint(&mut out.entries, ((step << 1) ^ (step >> 63)) as u64);
            }
            last = position.unwrap_or(last);
        }
        out.finish()
    }

    /// The entries, sorted by text offset.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Option<u32>)> + use<'a> {
        let blocks = Blocks(self.0);
        // Blocks that are not there end it.
        (0..blocks.count())
            .map_while(move |block| blocks.get(block))
            .flat_map(|(first, entries)| Positions::new(first, entries))
    }

    /// Byte offset in the WebAssembly binary of the operator whose code contains a text offset.
    pub fn lookup(&self, text_offset: u32) -> Option<u32> {
        let (first, entries) = Blocks(self.0).find(text_offset)?;
        let entries = Positions::new(first, entries);
        let before = entries.take_while(|(offset, _)| *offset <= text_offset);
        before.last()?.1
    }
}

/// The entries of one block of an address map.
struct Positions<'a> {
    entries: Bytes<'a>,
    offset: u32,
    last: u32,
}

impl<'a> Positions<'a> {
    fn new(first: u32, entries: Bytes<'a>) -> Self {
        Positions {
            entries,
            offset: first,
            last: 0,
        }
    }
}

impl Iterator for Positions<'_> {
    type Item = (u32, Option<u32>);

    fn next(&mut self) -> Option<Self::Item> {
        let codes = self.entries.byte()?;
        let distance = match codes >> 4 {
            FOLLOWS => u32::try_from(self.entries.varint()?).ok()?,
            short => SHORTEST + u32::from(short),
        };
        let step = match codes & 15 {
            FOLLOWS => {
                let step = self.entries.varint()?;
                (step >> 1) as i64 ^ -((step & 1) as i64)
            }
            short => i64::from(short),
        };
        self.offset = self.offset.checked_add(distance)?;
        if codes & 15 == 0 {
            return Some((self.offset, None));
        }
        self.last = u32::try_from(i64::from(self.last).checked_add(step)?).ok()?;
        Some((self.offset, Some(self.last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trap::Trap;

    /// Numbers that look random and are the same in every run.
    fn numbers() -> impl FnMut(u32) -> u32 {
        let mut state = 1u64;
        move |below| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 33) as u32 % below
        }
    }

    /// Entries of some blocks: near and far ones, as they are in code, and none.
    fn positions() -> Vec<(u32, Option<u32>)> {
        let mut number = numbers();
        let (mut offset, mut position) = (3, 1u32);
        let mut entries = Vec::new();
        for _ in 0..5 * BLOCK + 7 {
            let here = match number(8) {
                0 => None,
                1 => Some(number(u32::MAX)),
                _ => Some(position),
            };
            entries.push((offset, here));
            let far = number(9) == 0;
            offset += 1 + number(if far { 100_000 } else { 18 });
            position = position.saturating_add_signed(number(30) as i32 - 8);
        }
        entries
    }

    fn traps() -> Vec<(u32, TrapSite)> {
        let mut number = numbers();
        let mut offset = 0;
        let sites = (0..3 * BLOCK + 1).map(|_| {
            let far = number(9) == 0;
            offset += 1 + number(if far { 100_000 } else { 90 });
            let site = match number(4) {
                0 => Trap::IntegerOverflow.into(),
                1 => TrapSite {
                    trap: Trap::MemoryOutOfBounds,
                    untaken: 1 + number(100) as u8,
                },
                _ => Trap::MemoryOutOfBounds.into(),
            };
            (offset, site)
        });
        sites.collect()
    }

    #[test]
    fn traps_are_found_at_their_exact_offset() {
        let bytes = TrapTable::encode([(3, Trap::IntegerOverflow), (9, Trap::MemoryOutOfBounds)]);
        let table = TrapTable(&bytes);
        assert_eq!(table.lookup(3), Some(Trap::IntegerOverflow.into()));
        assert_eq!(table.lookup(9), Some(Trap::MemoryOutOfBounds.into()));
        assert_eq!(table.lookup(4), None);
        assert_eq!(table.lookup(0), None);
        assert_eq!(table.lookup(10), None);
    }

    #[test]
    fn all_traps_of_many_blocks_are_found_and_nothing_between_them() {
        let traps = traps();
        let bytes = TrapTable::encode(traps.iter().copied());
        let table = TrapTable(&bytes);
        assert_eq!(table.iter().collect::<Vec<_>>(), traps);
        for (at, &(offset, site)) in traps.iter().enumerate() {
            assert_eq!(table.lookup(offset), Some(site), "{offset}");
            let next = traps.get(at + 1).map_or(u32::MAX, |next| next.0);
            for between in [offset + 1, next - 1] {
                if between != offset && between != next {
                    assert_eq!(table.lookup(between), None, "{between}");
                }
            }
        }
    }

    #[test]
    fn addresses_cover_up_to_the_next_entry() {
        let bytes = AddressMap::encode([(4, Some(100)), (8, None), (12, Some(200))]);
        let map = AddressMap(&bytes);
        let found: Vec<_> = [0, 4, 7, 8, 12, 99].map(|o| map.lookup(o)).to_vec();
        assert_eq!(
            found,
            [None, Some(100), Some(100), None, Some(200), Some(200)]
        );
    }

    #[test]
    fn an_address_map_of_many_blocks_gives_back_what_was_put_in() {
        let entries = positions();
        let bytes = AddressMap::encode(entries.iter().copied());
        let map = AddressMap(&bytes);
        assert_eq!(map.iter().collect::<Vec<_>>(), entries);
        for (at, &(offset, position)) in entries.iter().enumerate() {
            assert_eq!(map.lookup(offset), position, "{offset}");
            if let Some((next, _)) = entries.get(at + 1) {
                assert_eq!(map.lookup(next - 1), position, "before {next}");
            }
        }
        assert_eq!(map.lookup(u32::MAX), entries.last().unwrap().1);
    }

    #[test]
    fn empty_tables_find_nothing() {
        let traps = TrapTable::encode([(0, Trap::IntegerOverflow); 0]);
        let positions = AddressMap::encode([]);
        for (traps, positions) in [(&traps[..], &positions[..]), (&[], &[])] {
            assert_eq!(TrapTable(traps).lookup(0), None);
            assert_eq!(AddressMap(positions).lookup(0), None);
            assert_eq!(AddressMap(positions).iter().count(), 0);
        }
    }

    #[test]
    fn tables_cut_short_or_altered_do_not_panic() {
        let entries = positions();
        let traps = traps();
        let map = AddressMap::encode(entries.iter().copied());
        let table = TrapTable::encode(traps.iter().copied());
        let look = |map: &[u8], table: &[u8]| {
            for (offset, _) in &entries[..BLOCK + 2] {
                AddressMap(map).lookup(*offset);
                TrapTable(table).lookup(*offset);
            }
            // Blocks that overlap have no more entries than bytes each.
            assert!(AddressMap(map).iter().count() <= map.len() * map.len() / 8);
        };
        for len in 0..map.len().max(table.len()) {
            look(&map[..len.min(map.len())], &table[..len.min(table.len())]);
        }
        let mut number = numbers();
        for _ in 0..2000 {
            let mut altered = (map.clone(), table.clone());
            for bytes in [&mut altered.0, &mut altered.1] {
                let at = number(bytes.len() as u32) as usize;
                bytes[at] = number(256) as u8;
            }
            look(&altered.0, &altered.1);
        }
    }
}
