//! Debug information that makes no sense, by accident or on purpose. Whether the right places are found is tested from outside.

use super::*;
use crate::{Config, Engine, Module, WasmBacktraceDetails};
use cowling_abi::artifact::DEBUG_SECTION_NAMES;

/// Addresses all over the code of `guests/ledger.wasm`.
const ADDRESSES: std::ops::Range<u64> = 1..120;

/// The debug information of `guests/ledger.wasm`, as the artifact has it.
fn ledger() -> Module {
    let mut config = Config::new();
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    let engine = Engine::new(&config).unwrap();
    let wasm = include_bytes!("../../../../../guests/ledger.wasm");
    Module::new(&engine, wasm).unwrap()
}

fn names(found: &[Wanted]) -> Vec<&str> {
    let symbols = found.iter().flat_map(|wanted| wanted.symbols.iter());
    symbols.filter_map(FrameSymbol::name).collect()
}

#[test]
fn truncated_sections_give_less_and_nothing_worse() {
    let module = ledger();
    let debug = module.code().debug_info().unwrap();
    let whole = names(&find(&debug, ADDRESSES, BUDGET)).len();
    assert!(whole > 50, "{whole}");
    for place in 0..DEBUG_SECTION_NAMES.len() {
        let len = debug.sections[place].len();
        for cut in 0..len {
            let mut debug = debug;
            debug.sections[place] = &debug.sections[place][..cut];
            assert!(names(&find(&debug, ADDRESSES, BUDGET)).len() <= whole);
        }
    }
}

#[test]
fn altered_sections_never_panic() {
    let module = ledger();
    let debug = module.code().debug_info().unwrap();
    // Every byte of every section, one bit and all bits.
    for place in 0..DEBUG_SECTION_NAMES.len() {
        let section = debug.sections[place];
        for at in 0..section.len() {
            for flip in [1 << (at % 8), 0xff] {
                let mut altered = section.to_vec();
                altered[at] ^= flip;
                let mut debug = debug;
                debug.sections[place] = &altered;
                find(&debug, ADDRESSES, BUDGET);
            }
        }
    }
    // Several at once, as a generator of pseudo-random numbers says.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..2000 {
        let mut altered = debug.sections.map(<[u8]>::to_vec);
        for _ in 0..=random(8) {
            let section = &mut altered[random(DEBUG_SECTION_NAMES.len())];
            if let Some(at) = section.len().checked_sub(1).map(|last| random(last + 1)) {
                section[at] = random(256) as u8;
            }
        }
        let mut debug = debug;
        for (section, altered) in debug.sections.iter_mut().zip(&altered) {
            *section = altered;
        }
        find(&debug, ADDRESSES, BUDGET);
    }
}

#[test]
fn an_exhausted_budget_ends_everything() {
    let module = ledger();
    let debug = module.code().debug_info().unwrap();
    let whole = names(&find(&debug, ADDRESSES, BUDGET)).len();
    let mut found = Vec::new();
    for budget in (0..20).map(|power| 1 << power) {
        found.push(names(&find(&debug, ADDRESSES, budget)).len());
    }
    assert_eq!(found[0], 0);
    assert_eq!(found.last(), Some(&whole));
    assert!(found.is_sorted(), "{found:?}");
}

/// An abbreviation: its code, tag, whether it has children, attributes and their forms.
fn abbreviation(code: u8, tag: gimli::DwTag, children: bool, attributes: &[[u8; 2]]) -> Vec<u8> {
    let mut bytes = vec![code, tag.0 as u8, children.into()];
    bytes.extend(attributes.concat());
    bytes.extend([0, 0]);
    bytes
}

/// A unit of version 4 with these entries, which share all abbreviations.
fn unit(entries: &[u8]) -> Vec<u8> {
    let mut bytes = (entries.len() as u32 + 7).to_le_bytes().to_vec();
    bytes.extend([4, 0, 0, 0, 0, 0, 4]);
    bytes.extend(entries);
    bytes
}

const LOW_PC: u8 = gimli::DW_AT_low_pc.0 as u8;
const HIGH_PC: u8 = gimli::DW_AT_high_pc.0 as u8;
const RANGES: u8 = gimli::DW_AT_ranges.0 as u8;
const NAME: u8 = gimli::DW_AT_name.0 as u8;
const ORIGIN: u8 = gimli::DW_AT_abstract_origin.0 as u8;
const ADDRESS: u8 = gimli::DW_FORM_addr.0 as u8;
const DATA1: u8 = gimli::DW_FORM_data1.0 as u8;
const DATA4: u8 = gimli::DW_FORM_data4.0 as u8;
const OFFSET: u8 = gimli::DW_FORM_sec_offset.0 as u8;
const STRING: u8 = gimli::DW_FORM_string.0 as u8;
const REFERENCE: u8 = gimli::DW_FORM_ref4.0 as u8;

/// Debug information of units, abbreviations and ranges.
fn sections<'a>(info: &'a [u8], abbreviations: &'a [u8], ranges: &'a [u8]) -> DebugSections<'a> {
    let mut debug = DebugSections::default();
    debug.add(".debug_info", info);
    debug.add(".debug_abbrev", abbreviations);
    debug.add(".debug_ranges", ranges);
    debug
}

#[test]
fn functions_inlined_into_one_another_without_end_are_cut_off_without_recursion() {
    let extent = [[LOW_PC, ADDRESS], [HIGH_PC, DATA1]];
    let abbreviations = [
        abbreviation(1, gimli::DW_TAG_compile_unit, true, &extent),
        abbreviation(2, gimli::DW_TAG_subprogram, true, &extent),
        abbreviation(3, gimli::DW_TAG_inlined_subroutine, true, &extent),
    ]
    .concat();
    let entry = |code| [code, 16, 0, 0, 0, 16];
    let mut entries = [entry(1), entry(2)].concat();
    for _ in 0..500_000 {
        entries.extend(entry(3));
    }
    let info = unit(&entries);
    let found = find(
        &sections(&info, &abbreviations, b"\0"),
        [20].into_iter(),
        BUDGET,
    );
    assert_eq!(found[0].symbols.len(), MAX_INLINED);
}

#[test]
fn names_that_refer_to_themselves_are_none() {
    let extent = [[LOW_PC, ADDRESS], [HIGH_PC, DATA1]];
    let refers = [extent[0], extent[1], [ORIGIN, REFERENCE]];
    let abbreviations = [
        abbreviation(1, gimli::DW_TAG_compile_unit, true, &extent),
        abbreviation(2, gimli::DW_TAG_subprogram, false, &refers),
    ]
    .concat();
    // The function is behind the header of 11 bytes and the unit's own 6.
    let entries = [1, 16, 0, 0, 0, 16, 2, 16, 0, 0, 0, 16, 17, 0, 0, 0, 0];
    let info = unit(&entries);
    let found = find(
        &sections(&info, &abbreviations, b"\0"),
        [20].into_iter(),
        BUDGET,
    );
    assert_eq!(found[0].symbols.len(), 1);
    assert_eq!(found[0].symbols[0].name(), None);
}

#[test]
fn units_that_share_a_long_list_of_ranges_end_at_the_budget() {
    let abbreviations = [
        abbreviation(1, gimli::DW_TAG_compile_unit, true, &[[RANGES, OFFSET]]),
        abbreviation(
            2,
            gimli::DW_TAG_subprogram,
            false,
            &[[LOW_PC, ADDRESS], [HIGH_PC, DATA1], [NAME, STRING]],
        ),
    ]
    .concat();
    // 100,000 units name 100,000 ranges each, which takes 20 billion reads; what is looked for is in the last unit.
    let mut ranges = Vec::new();
    for _ in 0..100_000 {
        ranges.extend([1, 0, 0, 0, 2, 0, 0, 0]);
    }
    let last = ranges.len() as u32;
    ranges.extend([16, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let in_the_way = unit(&[1, 0, 0, 0, 0, 0]);
    let mut answer = vec![1];
    answer.extend(last.to_le_bytes());
    answer.extend([2, 16, 0, 0, 0, 16, b'f', 0, 0]);
    let answer = unit(&answer);
    for (before, found) in [(1, true), (100_000, false)] {
        let mut info = in_the_way.repeat(before);
        info.extend(&answer);
        let debug = sections(&info, &abbreviations, &ranges);
        let wanted = find(&debug, [64, 20].into_iter(), BUDGET);
        assert!(wanted[1].symbols.is_empty());
        assert_eq!(
            names(&wanted),
            if found { &["f"][..] } else { &[] },
            "{before}"
        );
    }
}

/// The text format's assembler writes the address at which a unit begins as a number that is no address.
#[test]
fn units_whose_extent_cannot_be_read_are_looked_into() {
    let function = [[LOW_PC, ADDRESS], [HIGH_PC, DATA1], [NAME, STRING]];
    // The unit says 64 to 80, and has a function from 16 to 32.
    let entries = [1, 64, 0, 0, 0, 16, 2, 16, 0, 0, 0, 16, b'f', 0, 0];
    for (form, address, found) in [
        (DATA4, 20, Some("f")),
        (DATA4, 70, None),
        (ADDRESS, 20, None),
    ] {
        let abbreviations = [
            abbreviation(
                1,
                gimli::DW_TAG_compile_unit,
                true,
                &[[LOW_PC, form], [HIGH_PC, DATA1]],
            ),
            abbreviation(2, gimli::DW_TAG_subprogram, false, &function),
        ]
        .concat();
        let info = unit(&entries);
        let debug = sections(&info, &abbreviations, b"\0");
        let wanted = find(&debug, [address].into_iter(), BUDGET);
        assert_eq!(names(&wanted), Vec::from_iter(found), "{form} {address}");
    }
}

#[test]
fn paths_begin_where_they_were_compiled_unless_they_say_otherwise() {
    for (directory, rest, whole) in [
        ("", "a.c", "a.c"),
        ("/src", "a.c", "/src/a.c"),
        ("/src/", "a.c", "/src/a.c"),
        ("/src", "/b/a.c", "/b/a.c"),
        ("C:\\src", "a.c", "C:\\src\\a.c"),
        ("C:/src", "a.c", "C:/src/a.c"),
        ("/src", "C:\\b\\a.c", "C:\\b\\a.c"),
    ] {
        let mut path = directory.to_string();
        append(&mut path, rest);
        assert_eq!(path, whole);
    }
}
