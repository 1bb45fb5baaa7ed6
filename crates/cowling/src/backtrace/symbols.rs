//! From places in a binary to functions, files and lines.
//!
//! ```text
//!   unit of compilation that covers the address          .debug_info, one unit after the other
//!     ├─ function that covers it                         its tree, read through once
//!     │    └─ function inlined there ─ and there ...     the branch below the function
//!     └─ row of the line program that covers it          .debug_line, run once
//! ```
//!
//! Debug information comes from whoever made the guest, so it is *read through*, never loaded: nothing is kept but what is on the
//! way to an answer. Memory is bounded by that, time by the [`Meter`]; no depth of nesting is a depth of calls here. What makes no
//! sense is skipped, and then there are fewer symbols, or none.
//!
//! Addresses count from the start of the content of the code section. Nothing of a program is at 0: that is where linkers put functions
//! that they have left out.

#[cfg(test)]
mod tests;

use super::metered::{Meter, Metered};
use super::{FrameSymbol, Symbols};
use cowling_abi::artifact::DebugSections;
use cowling_vm::BacktraceFrame;
use gimli::{
    Abbreviation, AttributeValue, DebugInfoOffset, EntriesRaw, LineRow, Reader, Result, UnitOffset,
};
use std::ptr;

/// What may be read for one backtrace and module. Debug information of 50 MB needs a few million, and this is a quarter of a second.
const BUDGET: u64 = 64 << 20;
/// What may be read of it to begin with a unit. It is kept while the unit is looked through: abbreviations and names of files.
const UNIT_BUDGET: u64 = 1 << 20;
/// How many functions may be inlined into one another.
const MAX_INLINED: usize = 256;
/// How many references are followed to the name of a function.
const MAX_REFERENCES: usize = 16;

/// A place in a file, which is named by its number in the unit's line program.
#[derive(Copy, Clone, Default)]
struct Place {
    file: Option<u64>,
    line: Option<u32>,
    column: Option<u32>,
}

/// An address that is looked for, and what was found so far.
struct Wanted {
    address: u64,
    /// The function and those inlined into one another in it, outermost first.
    functions: Vec<Function>,
    row: Option<Place>,
    symbols: Symbols,
}

/// The symbols of each of the frames.
pub(super) fn look_up(frames: &[BacktraceFrame]) -> Vec<Symbols> {
    let mut symbols = vec![Symbols::default(); frames.len()];
    for (first, frame) in frames.iter().enumerate() {
        let same = |f: &BacktraceFrame| ptr::eq(&**f.module(), &**frame.module());
        // A module's frames are all looked up with the first of them.
        if frames[..first].iter().any(same) {
            continue;
        }
        let Some(debug) = frame.module().debug_info() else {
            continue;
        };
        let address = |f: &BacktraceFrame| {
            let address = f.module_offset()?.checked_sub(debug.code_start)?;
            (same(f) && address != 0).then_some(u64::from(address))
        };
        let wanted = find(&debug, frames.iter().filter_map(address), BUDGET);
        for (symbols, frame) in symbols.iter_mut().zip(frames) {
            if let Some(address) = address(frame)
                && let Ok(found) = wanted.binary_search_by_key(&address, |w| w.address)
            {
                *symbols = wanted[found].symbols.clone();
            }
        }
    }
    symbols
}

/// What is known of these addresses, each once and in their order.
fn find(
    debug: &DebugSections<'_>,
    addresses: impl Iterator<Item = u64>,
    budget: u64,
) -> Vec<Wanted> {
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    let new = |address| Wanted {
        address,
        functions: Vec::new(),
        row: None,
        symbols: Symbols::default(),
    };
    let mut wanted: Vec<_> = addresses.into_iter().map(new).collect();
    let meter = Meter::new(budget);
    let section = |id: gimli::SectionId| Ok(Metered::new(debug.get(id.name()), &meter));
    let dwarf: Result<Dwarf<'_>> = Dwarf::load(section);
    if let Ok(dwarf) = dwarf {
        let lookup = Lookup {
            dwarf: &dwarf,
            meter: &meter,
        };
        lookup.all(&mut wanted);
    }
    wanted
}

type Dwarf<'a> = gimli::Dwarf<Metered<'a>>;
type Unit<'a> = gimli::Unit<Metered<'a>>;
type Value<'a> = AttributeValue<Metered<'a>>;
type Tree<'t, 'a> = EntriesRaw<'t, Metered<'a>>;

struct Lookup<'a> {
    dwarf: &'a Dwarf<'a>,
    meter: &'a Meter,
}

impl<'a> Lookup<'a> {
    fn all(&self, wanted: &mut [Wanted]) {
        let mut units = self.dwarf.units();
        while wanted.iter().any(|w| w.symbols.is_empty()) {
            let Ok(Some(header)) = units.next() else {
                return;
            };
            let unit = self.meter.at_most(UNIT_BUDGET, || self.dwarf.unit(header));
            if let Ok(unit) = unit {
                self.in_unit(&unit, wanted);
            }
        }
    }

    /// Finds what is in this unit of what was not found yet.
    fn in_unit(&self, unit: &Unit<'a>, wanted: &mut [Wanted]) {
        // One that says it in a way that nobody else does may cover anything, like one that does not say it.
        let covered = |w: &&mut Wanted| {
            w.symbols.is_empty() && self.unit_covers(unit, w.address).unwrap_or(true)
        };
        let mut wanted: Vec<_> = wanted.iter_mut().filter(covered).collect();
        if wanted.is_empty() {
            return;
        }
        // An error ends the tree. What was found before is right.
        let _ = self.functions(unit, &mut wanted);
        rows(unit, &mut wanted);
        for wanted in wanted {
            wanted.symbols = self.symbols(unit, wanted);
        }
    }

    /// Does a unit cover an address, or not say what it covers?
    fn unit_covers(&self, unit: &Unit<'a>, address: u64) -> Result<bool> {
        let mut ranges = self.dwarf.unit_ranges(unit)?;
        let mut says = false;
        while let Some(range) = ranges.next()? {
            says = true;
            if covers(range.begin, range.end, address) {
                return Ok(true);
            }
        }
        Ok(!says)
    }

    /// Reads the tree of a unit through for the functions that cover the addresses.
    fn functions(&self, unit: &Unit<'a>, wanted: &mut [&mut Wanted]) -> Result<()> {
        let mut tree = unit.entries_raw(None)?;
        while !tree.is_empty() {
            let (entry, depth) = (tree.next_offset(), tree.next_depth());
            let Some(abbreviation) = tree.read_abbreviation()? else {
                continue;
            };
            if abbreviation.tag() != gimli::DW_TAG_subprogram {
                tree.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let (function, extent) = self.function(unit, &mut tree, entry, abbreviation)?;
            for wanted in wanted.iter_mut().filter(|w| w.functions.is_empty()) {
                if self.extent_covers(unit, &extent, wanted.address)? {
                    wanted.functions.push(function);
                    self.inlined(unit, tree.clone(), depth, wanted)?;
                }
            }
        }
        Ok(())
    }

    /// Follows the branch below a function to what is inlined at an address.
    fn inlined(
        &self,
        unit: &Unit<'a>,
        mut tree: Tree<'_, 'a>,
        mut inside: isize,
        wanted: &mut Wanted,
    ) -> Result<()> {
        let mut skipped = None;
        while !tree.is_empty() && wanted.functions.len() < MAX_INLINED {
            let (entry, depth) = (tree.next_offset(), tree.next_depth());
            if depth <= inside {
                break;
            }
            if skipped.is_some_and(|skipped| depth <= skipped) {
                skipped = None;
            }
            let Some(abbreviation) = tree.read_abbreviation()? else {
                continue;
            };
            match abbreviation.tag() {
                gimli::DW_TAG_inlined_subroutine if skipped.is_none() => {
                    let (function, extent) = self.function(unit, &mut tree, entry, abbreviation)?;
                    match self.extent_covers(unit, &extent, wanted.address)? {
                        true => {
                            wanted.functions.push(function);
                            inside = depth;
                        }
                        false => skipped = Some(depth),
                    }
                }
                tag => {
                    // A function in a function: its branch is about other addresses.
                    if tag == gimli::DW_TAG_subprogram && skipped.is_none() {
                        skipped = Some(depth);
                    }
                    tree.skip_attributes(abbreviation.attributes())?;
                }
            }
        }
        Ok(())
    }

    /// Reads the attributes of the function whose abbreviation has been read.
    fn function(
        &self,
        unit: &Unit<'a>,
        tree: &mut Tree<'_, 'a>,
        entry: UnitOffset,
        abbreviation: &Abbreviation,
    ) -> Result<(Function, Extent)> {
        let (mut call, mut extent) = (Place::default(), Extent::default());
        for specification in abbreviation.attributes() {
            let attribute = tree.read_attribute(*specification)?;
            let number = || attribute.udata_value().unwrap_or(0);
            let value = attribute.value();
            match attribute.name() {
                gimli::DW_AT_low_pc => extent.low = self.dwarf.attr_address(unit, value)?,
                gimli::DW_AT_high_pc => match self.dwarf.attr_address(unit, value)? {
                    Some(address) => extent.high = Some(address),
                    None => extent.len = attribute.udata_value(),
                },
                gimli::DW_AT_ranges => {
                    extent.ranges = self.dwarf.attr_ranges_offset(unit, value)?;
                }
                gimli::DW_AT_call_file => {
                    // Before version 5, 0 was no file.
                    if let AttributeValue::FileIndex(file) = value
                        && (file > 0 || unit.header.version() >= 5)
                    {
                        call.file = Some(file);
                    }
                }
                gimli::DW_AT_call_line => call.line = from_one(number()),
                gimli::DW_AT_call_column => call.column = from_one(number()),
                _ => {}
            }
        }
        Ok((Function { entry, call }, extent))
    }

    fn extent_covers(&self, unit: &Unit<'a>, extent: &Extent, address: u64) -> Result<bool> {
        if let Some(list) = extent.ranges {
            let mut ranges = self.dwarf.ranges(unit, list)?;
            while let Some(range) = ranges.next()? {
                if covers(range.begin, range.end, address) {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let Some(low) = extent.low else {
            return Ok(false);
        };
        let high = extent
            .high
            .or(extent.len.map(|len| low.saturating_add(len)));
        Ok(high.is_some_and(|high| covers(low, high, address)))
    }

    /// What was found, innermost first.
    fn symbols(&self, unit: &Unit<'a>, wanted: &mut Wanted) -> Symbols {
        let mut place = wanted.row.take();
        let mut symbols = Vec::new();
        for function in wanted.functions.drain(..).rev() {
            let name = self.name(unit, function.entry);
            symbols.push(self.symbol(unit, name, place));
            place = Some(function.call);
        }
        if symbols.is_empty() && place.is_some() {
            symbols.push(self.symbol(unit, None, place));
        }
        symbols.into()
    }

    fn symbol(&self, unit: &Unit<'a>, name: Option<Box<str>>, place: Option<Place>) -> FrameSymbol {
        let place = place.unwrap_or_default();
        FrameSymbol {
            name,
            file: place.file.and_then(|file| self.path(unit, file)),
            line: place.line,
            column: place.line.and(place.column),
        }
    }

    /// The name of a function, which may be that of another entry it refers to.
    fn name(&self, unit: &Unit<'a>, mut entry: UnitOffset) -> Option<Box<str>> {
        let mut other = None;
        for _ in 0..MAX_REFERENCES {
            let unit = other.as_ref().unwrap_or(unit);
            let (name, reference) = self.own_name(unit, entry).ok()?;
            if name.is_some() {
                return name;
            }
            match reference? {
                AttributeValue::UnitRef(there) => entry = there,
                AttributeValue::DebugInfoRef(there) => {
                    let (unit, there) = self.unit_of(there)?;
                    (other, entry) = (Some(unit), there);
                }
                _ => return None,
            }
        }
        None
    }

    /// The name that an entry has itself, and what it refers to.
    fn own_name(
        &self,
        unit: &Unit<'a>,
        entry: UnitOffset,
    ) -> Result<(Option<Box<str>>, Option<Value<'a>>)> {
        let mut tree = unit.entries_raw(Some(entry))?;
        let (mut linkage, mut plain, mut reference) = (None, None, None);
        if let Some(abbreviation) = tree.read_abbreviation()? {
            for specification in abbreviation.attributes() {
                let attribute = tree.read_attribute(*specification)?;
                let place = match attribute.name() {
                    gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => &mut linkage,
                    gimli::DW_AT_name => &mut plain,
                    gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => &mut reference,
                    _ => continue,
                };
                *place = Some(attribute.value());
            }
        }
        let name = linkage.or(plain).and_then(|name| self.text(unit, name));
        Ok((name.map(String::into_boxed_str), reference))
    }

    /// The unit that an entry is in, and where in it the entry is.
    fn unit_of(&self, entry: DebugInfoOffset) -> Option<(Unit<'a>, UnitOffset)> {
        let mut units = self.dwarf.units();
        while let Ok(Some(header)) = units.next() {
            if let Some(there) = entry.to_unit_offset(&header) {
                let unit = (self.meter).at_most(UNIT_BUDGET, || self.dwarf.unit(header));
                return Some((unit.ok()?, there));
            }
        }
        None
    }

    /// The path of a file: in the directory it was compiled in, unless it begins elsewhere.
    fn path(&self, unit: &Unit<'a>, file: u64) -> Option<Box<str>> {
        let header = unit.line_program.as_ref()?.header();
        let file = header.file(file)?;
        let mut path = match &unit.comp_dir {
            Some(directory) => directory.to_string_lossy().ok()?.into_owned(),
            None => String::new(),
        };
        // Directory 0 is the one it was compiled in.
        if file.directory_index() != 0
            && let Some(directory) = file.directory(header)
        {
            append(&mut path, &self.text(unit, directory)?);
        }
        append(&mut path, &self.text(unit, file.path_name())?);
        Some(path.into_boxed_str())
    }

    fn text(&self, unit: &Unit<'a>, value: Value<'a>) -> Option<String> {
        let text = self.dwarf.attr_string(unit, value).ok()?;
        Some(text.to_string_lossy().ok()?.into_owned())
    }
}

/// A function, or what is left of one that was inlined.
#[derive(Copy, Clone)]
struct Function {
    /// Where it is described.
    entry: UnitOffset,
    /// From where it would be called, if it was inlined.
    call: Place,
}

/// Which addresses a function covers.
#[derive(Default)]
struct Extent {
    low: Option<u64>,
    high: Option<u64>,
    len: Option<u64>,
    ranges: Option<gimli::RangeListsOffset>,
}

fn covers(begin: u64, end: u64, address: u64) -> bool {
    begin != 0 && (begin..end).contains(&address)
}

/// Lines and columns are counted from 1; 0 is none.
fn from_one(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0)
}

/// Runs the line program of a unit for the rows that cover the addresses. An error ends it.
fn rows(unit: &Unit<'_>, wanted: &mut [&mut Wanted]) {
    let Some(program) = unit.line_program.clone() else {
        return;
    };
    let mut rows = program.rows();
    // The row before, if it is of the same sequence, and whether that is of the program.
    let mut before: Option<(LineRow, bool)> = None;
    while let Ok(Some((_, row))) = rows.next_row() {
        if let Some((before, true)) = &before {
            let covered = |w: &&mut &mut Wanted| {
                w.row.is_none() && (before.address()..row.address()).contains(&w.address)
            };
            for wanted in wanted.iter_mut().filter(covered) {
                wanted.row = Some(place(before));
            }
        }
        before = match row.end_sequence() {
            true => None,
            false => {
                let there = before.map_or(row.address() != 0, |(_, there)| there);
                Some((*row, there))
            }
        };
    }
}

fn place(row: &LineRow) -> Place {
    Place {
        file: Some(row.file_index()),
        line: row.line().and_then(|line| from_one(line.get())),
        column: match row.column() {
            gimli::ColumnType::LeftEdge => None,
            gimli::ColumnType::Column(column) => from_one(column.get()),
        },
    }
}

/// Goes on from a directory, unless what follows begins at a root: Unix's, or a drive.
fn append(path: &mut String, rest: &str) {
    let is_drive = |path: &str| matches!(path.get(1..3), Some(":/" | ":\\"));
    let is_windows = |path: &str| path.starts_with('\\') || path.get(1..3) == Some(":\\");
    if rest.starts_with(['/', '\\']) || is_drive(rest) {
        path.clear();
    } else if !path.is_empty() && !path.ends_with(['/', '\\']) {
        path.push(if is_windows(path) { '\\' } else { '/' });
    }
    path.push_str(rest);
}
