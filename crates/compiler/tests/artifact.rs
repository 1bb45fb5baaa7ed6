//! Artifacts as a reader sees them: every section is there, and what the tables say is true of the code.

use cowling_abi::artifact::{
    AddressMap, CodeRange, ExceptionTable, FunctionTable, Header, IMAGE_ALIGN, NameTable,
    SECTION_ADDRESSES, SECTION_DATA, SECTION_EH_FRAME, SECTION_EXCEPTIONS, SECTION_FUNCTIONS,
    SECTION_HEADER, SECTION_IMAGE, SECTION_INFO, SECTION_NAMES, SECTION_TEXT, SECTION_TRAMPOLINES,
    SECTION_TRAPS, TrampolineTable, TrapTable,
};
use cowling_abi::knobs::{Inlining, Knobs};
use cowling_abi::{DefinedFuncIndex, FuncIndex, ModuleInfo, Trap, TypeIndex};
use cowling_compiler::Compiler;
use cranelift_codegen::gimli::{self, BaseAddresses, EhFrame, LittleEndian, UnwindSection};
use object::{Object, ObjectSection};
use std::ops::Range;

const SAMPLE: &str = r#"(module $sample
    (import "env" "log" (func $log (param i32)))
    (type $pair (func (param i32 i32) (result i32)))
    (tag $oops (param i32))
    (memory 1)
    (table 3 funcref)
    (func $divide (type $pair) (i32.div_s (local.get 0) (local.get 1)))
    (func $twice (param i32 i32) (result i32)
        (i32.add (call $divide (local.get 0) (local.get 1)) (call $divide (local.get 1) (local.get 0))))
    (func $guarded (result i32)
        (block $handler (result i32)
            (try_table (catch $oops $handler) (call $log (i32.const 1)))
            (i32.const 0)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (elem (i32.const 1) func $divide $twice)
    (data (i32.const 8) "image bytes")
    (data "passive bytes"))"#;

fn compile(wat: &str, knobs: &Knobs) -> Vec<u8> {
    let wasm = wat::parse_str(wat).expect("the sample is well-formed");
    let compiler = Compiler::new(knobs).expect("this machine is supported");
    compiler.compile(&wasm, &|_, _| {}).expect("it compiles")
}

struct Artifact {
    bytes: Vec<u8>,
}

impl Artifact {
    fn sample() -> Artifact {
        Artifact {
            bytes: compile(SAMPLE, &Knobs::default()),
        }
    }

    fn range(&self, name: &str) -> Range<usize> {
        let file = object::File::parse(&*self.bytes).expect("it is an object file");
        let section = file.section_by_name(name).expect(name);
        let (offset, len) = section.file_range().expect(name);
        offset as usize..(offset + len) as usize
    }

    fn section(&self, name: &str) -> &[u8] {
        &self.bytes[self.range(name)]
    }

    fn info(&self) -> ModuleInfo {
        postcard::from_bytes(self.section(SECTION_INFO)).expect("the facts decode")
    }

    fn function(&self, index: u32) -> CodeRange {
        let table = FunctionTable(self.section(SECTION_FUNCTIONS));
        table
            .get(DefinedFuncIndex::from_u32(index))
            .expect("it is there")
    }

    fn code(&self, range: CodeRange) -> &[u8] {
        &self.section(SECTION_TEXT)[range.offset as usize..][..range.len as usize]
    }
}

#[test]
fn the_header_vouches_for_every_byte() {
    let artifact = Artifact::sample();
    let header = Header::decode(artifact.section(SECTION_HEADER)).unwrap();
    assert_eq!(header.file_len, artifact.bytes.len() as u64);
    assert_eq!(
        header.check_compatible(&Header::for_this_machine(&Knobs::default())),
        Ok(())
    );
    // All of the section is the header: nothing in the file is outside both checksums.
    assert_eq!(header.encode(), artifact.section(SECTION_HEADER));
    let place = artifact.range(SECTION_HEADER);
    let mut hash = blake3::Hasher::new();
    hash.update(&artifact.bytes[..place.start]);
    hash.update(&artifact.bytes[place.end..]);
    assert_eq!(header.content_hash, *hash.finalize().as_bytes());
}

#[test]
fn what_is_mapped_begins_at_pages() {
    let artifact = Artifact::sample();
    for name in [SECTION_TEXT, SECTION_IMAGE] {
        assert_eq!(artifact.range(name).start as u64 % IMAGE_ALIGN, 0, "{name}");
    }
}

#[test]
fn functions_follow_each_other_and_trampolines_follow_them() {
    let artifact = Artifact::sample();
    let info = artifact.info();
    let table = FunctionTable(artifact.section(SECTION_FUNCTIONS));
    assert_eq!(table.len(), 4);
    let mut end = 0;
    for index in 0..4 {
        let range = artifact.function(index);
        assert!(range.offset >= end && range.len > 0);
        assert_eq!(range.offset % 16, 0);
        end = range.offset + range.len;
    }
    let table = TrampolineTable(artifact.section(SECTION_TRAMPOLINES));
    let text = artifact.section(SECTION_TEXT).len() as u32;
    let mut seen = std::collections::HashMap::new();
    for (index, ty) in info.types.iter() {
        let tramps = table.get(index).unwrap();
        assert!(tramps.entry >= end && tramps.entry < tramps.host_shim && tramps.host_shim < text);
        // Equal types share trampolines, others do not.
        assert_eq!(*seen.entry(ty.clone()).or_insert(tramps), tramps);
    }
    let distinct: std::collections::HashSet<_> = seen.values().map(|t| t.entry).collect();
    assert_eq!(distinct.len(), seen.len());
    assert!(
        table
            .get(TypeIndex::from_u32(info.types.len() as u32))
            .is_none()
    );
}

/// Offsets of what `find` accepts among the bytes of a function.
fn offsets(range: CodeRange, find: impl Fn(u32) -> bool) -> Vec<u32> {
    (range.offset..range.offset + range.len)
        .filter(|o| find(*o))
        .collect()
}

#[test]
fn calls_reach_the_function_they_name() {
    let knobs = Knobs {
        compiler_inlining: Inlining::No,
        ..Knobs::default()
    };
    let artifact = Artifact {
        bytes: compile(SAMPLE, &knobs),
    };
    let (divide, twice) = (artifact.function(0), artifact.function(1));
    let text = artifact.section(SECTION_TEXT);
    let calls = offsets(twice, |offset| {
        let at = offset as usize;
        // call rel32
        text[at] == 0xe8 && {
            let distance = i32::from_le_bytes(text[at + 1..at + 5].try_into().unwrap());
            i64::from(offset) + 5 + i64::from(distance) == i64::from(divide.offset)
        }
    });
    assert_eq!(calls.len(), 2);
}

#[test]
fn traps_and_positions_lead_back_to_the_operator() {
    let wasm = wat::parse_str(SAMPLE).unwrap();
    let artifact = Artifact::sample();
    let traps = TrapTable(artifact.section(SECTION_TRAPS));
    let positions = AddressMap(artifact.section(SECTION_ADDRESSES));
    for (function, trap, opcode) in [
        (0, Trap::IntegerDivisionByZero, 0x6d),
        (3, Trap::MemoryOutOfBounds, 0x28),
    ] {
        let found = offsets(artifact.function(function), |o| {
            traps.lookup(o) == Some(trap.into())
        });
        assert!(!found.is_empty(), "{trap}");
        for offset in found {
            let position = positions.lookup(offset).expect("it has a position");
            assert_eq!(wasm[position as usize], opcode, "{trap}");
        }
    }
    // Trampolines come from no operator.
    let entry = TrampolineTable(artifact.section(SECTION_TRAMPOLINES))
        .get(TypeIndex::from_u32(0))
        .unwrap()
        .entry;
    assert_eq!(positions.lookup(entry), None);
}

#[test]
fn a_call_inside_a_try_lists_its_handlers() {
    let artifact = Artifact::sample();
    let table = ExceptionTable(artifact.section(SECTION_EXCEPTIONS));
    let guarded = artifact.function(2);
    let sites = offsets(guarded, |offset| table.lookup(offset).is_some());
    assert_eq!(sites.len(), 1);
    let (frame_size, context, catches) = table.lookup(sites[0]).unwrap();
    assert!(context < frame_size);
    let catches: Vec<_> = catches.collect();
    assert_eq!(catches.len(), 1);
    assert_eq!(catches[0].tag.map(|t| t.as_u32()), Some(0));
    assert!((guarded.offset..guarded.offset + guarded.len).contains(&catches[0].handler));
    // The other functions have no such call.
    for index in [0, 1, 3] {
        let sites = offsets(artifact.function(index), |o| table.lookup(o).is_some());
        assert!(sites.is_empty());
    }
}

#[test]
fn names_data_and_images_are_where_the_facts_say() {
    let artifact = Artifact::sample();
    let info = artifact.info();
    let names = NameTable(artifact.section(SECTION_NAMES));
    let name = |index| names.get(FuncIndex::from_u32(index));
    assert_eq!(
        [name(0), name(2), name(4)],
        [Some("log"), Some("twice"), None]
    );
    assert_eq!(info.name.as_deref(), Some("sample"));

    let data: Vec<_> = info.data.values().map(|d| d.bytes.clone()).collect();
    assert!(data[0].is_empty());
    let passive = data[1].start as usize..data[1].end as usize;
    assert_eq!(&artifact.section(SECTION_DATA)[passive], b"passive bytes");

    let image = info
        .memory_images
        .values()
        .next()
        .unwrap()
        .as_ref()
        .unwrap();
    let bytes =
        &artifact.section(SECTION_IMAGE)[image.bytes.start as usize..image.bytes.end as usize];
    assert_eq!(image.memory_offset, 0);
    assert_eq!(bytes.len() as u64 % IMAGE_ALIGN, 0);
    assert_eq!(&bytes[8..19], b"image bytes");
    assert!(bytes[..8].iter().chain(&bytes[19..]).all(|b| *b == 0));
}

#[test]
fn unwind_information_covers_every_function() {
    let artifact = Artifact::sample();
    let (section, text) = (
        artifact.range(SECTION_EH_FRAME),
        artifact.range(SECTION_TEXT),
    );
    let frames = EhFrame::new(&artifact.bytes[section.clone()], LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(section.start as u64);
    let mut entries = frames.entries(&bases);
    let mut covered = Vec::new();
    while let Some(entry) = entries.next().unwrap() {
        if let gimli::CieOrFde::Fde(partial) = entry {
            let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
            covered.push((fde.initial_address(), fde.len()));
        }
    }
    for index in 0..4 {
        let range = artifact.function(index);
        let start = text.start as u64 + u64::from(range.offset);
        assert!(
            covered.contains(&(start, u64::from(range.len))),
            "function {index}"
        );
    }
}

#[test]
fn artifacts_do_not_depend_on_the_number_of_threads() {
    let mut wat = String::from("(module (memory 1)");
    for index in 0..200 {
        wat += &format!(
            "(func (param i32) (result i64) (local i64) {} (i64.load offset={index} (local.get 0)))",
            format!("(local.set 1 (i64.const {index}))").repeat(index % 17)
        );
    }
    wat.push(')');
    let sequential = Knobs {
        parallel_compilation: false,
        ..Knobs::default()
    };
    let first = compile(&wat, &Knobs::default());
    for knobs in [sequential, Knobs::default()] {
        assert!(first == compile(&wat, &knobs));
    }
}

#[test]
fn the_address_map_is_left_out_when_its_knob_is_off() {
    let knobs = Knobs {
        generate_address_map: false,
        ..Knobs::default()
    };
    let artifact = Artifact {
        bytes: compile(SAMPLE, &knobs),
    };
    let positions = AddressMap(artifact.section(SECTION_ADDRESSES));
    let found = offsets(artifact.function(0), |o| positions.lookup(o).is_some());
    assert!(found.is_empty());
    assert!(!artifact.code(artifact.function(0)).is_empty());
}

#[test]
fn progress_counts_every_function_once() {
    use std::sync::Mutex;
    let wasm = wat::parse_str(SAMPLE).unwrap();
    let compiler = Compiler::new(&Knobs::default()).unwrap();
    let seen = Mutex::new(Vec::new());
    compiler
        .compile(&wasm, &|done, total| {
            seen.lock().unwrap().push((done, total))
        })
        .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [(1, 4), (2, 4), (3, 4), (4, 4)]);
}
