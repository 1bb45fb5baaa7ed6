//! Tests of loading. Artifacts are put together by hand, without a compiler.

use super::*;
use crate::testing::{Artifact, engine, header_place};
use cowling_abi::module::{DataSegment, FunctionInfo, Import, MemoryImage, SegmentMode};
use cowling_abi::{EntityIndex, MemoryIndex, MemoryType, Trap};
use std::io::{Seek, Write};

const UD2: &[u8] = &[0x55, 0x48, 0x89, 0xe5, 0x0f, 0x0b];

/// A module with two functions, a data segment and a memory with an image.
fn artifact() -> Artifact {
    let mut artifact = Artifact::new();
    artifact.function(UD2, &[(4, Trap::UnreachableCodeReached)]);
    artifact.function(UD2, &[(4, Trap::IntegerOverflow)]);
    artifact.names = vec![(1, "second")];
    artifact.addresses = vec![(artifact.functions[1].offset, Some(77))];
    artifact.data = b"passive".to_vec();
    artifact.info.data.push(DataSegment {
        mode: SegmentMode::Passive,
        bytes: 0..7,
    });
    artifact.info.memories.push(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: 16,
    });
    artifact.images = vec![7; 8192];
    artifact.info.memory_images.push(Some(MemoryImage {
        memory_offset: 4096,
        bytes: 4096..8192,
    }));
    artifact
}

fn load(bytes: &[u8], verify: Verify) -> Result<Arc<CompiledModule>, LoadError> {
    CompiledModule::load_bytes(
        bytes,
        &engine(),
        &TypeRegistry::new().unwrap(),
        verify,
        TextPages::OfFile,
    )
}

fn load_file(bytes: &[u8], verify: Verify) -> Result<Arc<CompiledModule>, LoadError> {
    let file = file_with(bytes);
    let metadata = file.metadata().unwrap();
    CompiledModule::load_file(
        file,
        &metadata,
        &engine(),
        &TypeRegistry::new().unwrap(),
        verify,
        TextPages::OfFile,
    )
}

fn error(bytes: &[u8], verify: Verify) -> String {
    load(bytes, verify).expect_err("refused").to_string()
}

fn file_with(bytes: &[u8]) -> File {
    let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(fd);
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn what_the_artifact_says_is_found_from_bytes_and_from_a_file() {
    let made = artifact();
    let bytes = made.build();
    for verify in [Verify::HeaderOnly, Verify::Full] {
        let from_file = load_file(&bytes, verify);
        for module in [load(&bytes, verify).unwrap(), from_file.unwrap()] {
            assert_eq!(module.artifact_bytes(), bytes);
            assert_eq!(module.function_name(FuncIndex::from_u32(1)), Some("second"));
            assert_eq!(module.function_name(FuncIndex::from_u32(0)), None);
            assert_eq!(module.data_bytes(&(0..7)), b"passive");
            assert_eq!(module.data_bytes(&(0..8)), b"");
            let second = module.func_code(DefinedFuncIndex::from_u32(1)).unwrap();
            let location = module.lookup_pc(second as usize + 4).unwrap();
            assert_eq!(
                location,
                CodeLocation {
                    func: FuncIndex::from_u32(1),
                    start: second as u32 - module.text_address(0).unwrap() as u32,
                    offset: 4,
                }
            );
            assert_eq!(module.binary_offset(location.text_offset()), Some(77));
            assert_eq!(module.func_code(DefinedFuncIndex::from_u32(2)), None);
            let entry = module.entry_trampoline(TypeIndex::from_u32(0)).unwrap();
            assert_eq!(module.lookup_pc(entry as usize), None);
            assert_eq!(module.entry_trampoline(TypeIndex::from_u32(1)), None);
            let trap = registry::with_region(second as usize, |r| {
                r.trap_at(second as usize + 4).map(|site| site.trap)
            });
            assert_eq!(trap, Some(Some(Trap::IntegerOverflow)));
        }
    }
}

#[test]
fn code_is_registered_as_long_as_its_module_lives() {
    let module = load(&artifact().build(), Verify::Full).unwrap();
    let pc = module.func_code(DefinedFuncIndex::from_u32(0)).unwrap() as usize;
    assert!(Arc::ptr_eq(&registry::module_at(pc).unwrap(), &module));
    let weak = Arc::downgrade(&module);
    drop(module);
    assert!(weak.upgrade().is_none());
    // Another test's code may be mapped there by now.
    let now = registry::module_at(pc);
    assert!(now.is_none_or(|other| Arc::as_ptr(&other) != weak.as_ptr()));
}

/// What the system says of the pages at an address: protection, and file.
fn mapped_at(address: usize) -> (String, String) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let parse = |n| usize::from_str_radix(n, 16).unwrap();
        (parse(start)..parse(end)).contains(&address)
    });
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    let file = words.get(5..).unwrap_or_default().join(" ");
    (words[1].to_string(), file)
}

#[test]
fn code_is_never_writable() {
    let module = load(&artifact().build(), Verify::Full).unwrap();
    let pc = module.func_code(DefinedFuncIndex::from_u32(0)).unwrap() as usize;
    assert_eq!(mapped_at(pc).0, "r-xp");
}

#[test]
fn code_that_is_detached_is_the_same_and_of_no_file() {
    let bytes = artifact().build();
    for (text, of_file) in [(TextPages::OfFile, true), (TextPages::Detached, false)] {
        let types = TypeRegistry::new().unwrap();
        let module = CompiledModule::load_bytes(&bytes, &engine(), &types, Verify::Full, text);
        let module = module.unwrap();
        let pc = module.func_code(DefinedFuncIndex::from_u32(0)).unwrap() as usize;
        let (protection, file) = mapped_at(pc);
        assert_eq!(protection, "r-xp");
        assert_eq!(file.contains("cowling-artifact"), of_file, "{file}");
        assert_eq!(file.is_empty(), !of_file, "{file}");
        assert_eq!(module.artifact_bytes(), bytes);
    }
}

#[test]
fn truncated_artifacts_are_refused_at_every_length() {
    let bytes = artifact().build();
    for len in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        for verify in [Verify::HeaderOnly, Verify::Full] {
            let message = error(&bytes[..len], verify);
            let expected = if len < 64 {
                "not a Cowling artifact"
            } else {
                "truncated"
            };
            assert!(message.contains(expected), "length {len}: {message}");
        }
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(error(&longer, Verify::HeaderOnly).contains("truncated or extended"));
    for file in [&b""[..], b"\0asm\x01\0\0\0", &[0; 5000]] {
        let loaded = load_file(file, Verify::Full);
        assert!(
            matches!(
                loaded,
                Err(LoadError::Header(HeaderError::NotAnArtifact(_)))
            ),
            "{loaded:?}"
        );
    }
}

#[test]
fn every_altered_byte_is_noticed_by_the_full_check() {
    let bytes = artifact().build();
    // Every byte of header, facts and tables; a sample of the page-sized rest.
    let dense = header_place(&bytes).start..header_place(&bytes).end + 600;
    let positions = dense.chain((0..bytes.len()).step_by(61));
    for position in positions {
        let mut altered = bytes.clone();
        altered[position] ^= 0x10;
        assert!(
            load(&altered, Verify::Full).is_err(),
            "byte {position} altered"
        );
        // Without the full check altered content may load; it must only not go wrong while loading.
        drop(load(&altered, Verify::HeaderOnly));
    }
}

#[test]
fn artifacts_for_other_engines_are_refused_and_the_difference_is_named() {
    let mut others = Vec::new();
    let mut other = |change: fn(&mut Header), expected: &'static [&'static str]| {
        let mut header = engine();
        change(&mut header);
        others.push((header, expected));
    };
    other(
        |h| h.version = "0.0.1+old".into(),
        &["0.0.1+old", "compile it again"],
    );
    other(
        |h| h.target = "aarch64-unknown-linux-gnu".into(),
        &["aarch64"],
    );
    other(|h| h.cpu_features.push("has_fancy".into()), &["has_fancy"]);
    other(
        |h| h.settings = h.settings.replace("wasm_simd=true", "wasm_simd=false"),
        &["`wasm_simd=false`", "`wasm_simd=true`"],
    );
    for (header, expected) in others {
        let message = error(&artifact().build_for(header), Verify::HeaderOnly);
        for word in expected {
            assert!(message.contains(word), "{message}");
        }
    }
}

#[test]
fn artifacts_that_contradict_themselves_are_refused() {
    type Change = fn(&mut Artifact);
    let cases: &[(&str, Change)] = &[
        ("functions but has code", |a| a.functions.truncate(1)),
        ("outside its text", |a| a.functions[1].len = 1 << 20),
        ("outside its text", |a| a.functions[1].offset = u32::MAX - 1),
        ("trampolines of type0", |a| {
            a.trampolines[0].as_mut().unwrap().entry = 1 << 20
        }),
        ("trampolines of type0", |a| a.trampolines.clear()),
        ("image of", |a| {
            a.info
                .memory_images
                .values_mut()
                .for_each(|i| i.as_mut().unwrap().memory_offset = 1)
        }),
        ("image of", |a| {
            a.info
                .memory_images
                .values_mut()
                .for_each(|i| i.as_mut().unwrap().memory_offset = 1 << 16)
        }),
        ("memory image", |a| a.images.truncate(5000)),
        ("data segment", |a| a.data.truncate(3)),
        ("start function", |a| {
            a.info.start = Some(FuncIndex::from_u32(9))
        }),
        ("an export", |a| {
            a.info
                .exports
                .insert("m".into(), EntityIndex::Memory(MemoryIndex::from_u32(1)));
        }),
        ("no funcref", |a| {
            a.info
                .exports
                .insert("f".into(), EntityIndex::Func(FuncIndex::from_u32(0)));
        }),
        ("out of order", |a| {
            a.info.imports.push(Import {
                module: "m".into(),
                field: "f".into(),
                entity: EntityIndex::Func(FuncIndex::from_u32(1)),
            });
        }),
        ("imports are missing", |a| {
            a.info.imported_functions = 1;
            a.functions.pop();
        }),
        ("a function names type7", |a| {
            let ty = TypeIndex::from_u32(7);
            a.info.functions.push(FunctionInfo { ty, funcref: None });
            let last = a.functions[1];
            a.functions.push(last);
        }),
        ("impossible type", |a| {
            a.info
                .memories
                .values_mut()
                .for_each(|m| m.minimum = 1 << 40)
        }),
        ("impossible type", |a| {
            a.info
                .memories
                .values_mut()
                .for_each(|m| m.page_size_log2 = 200)
        }),
    ];
    for (position, (expected, change)) in cases.iter().enumerate() {
        let mut artifact = artifact();
        change(&mut artifact);
        let message = error(&artifact.build(), Verify::Full);
        assert!(message.contains(expected), "case {position}: {message}");
    }
}

#[test]
fn a_module_without_code_has_no_functions() {
    let types = TypeRegistry::new().unwrap();
    let mut info = ModuleInfo::default();
    info.memories
        .push(artifact().info.memories[MemoryIndex::from_u32(0)]);
    info.memory_images.push(None);
    let module = CompiledModule::without_code(info.clone(), &types, &[]).unwrap();
    assert!(module.artifact_bytes().is_empty());
    assert_eq!(module.lookup_pc(0), None);
    assert_eq!(module.layout().size() % 64, 0);
    let info = artifact().info;
    assert!(CompiledModule::without_code(info, &types, &[]).is_err());
}

#[test]
fn images_are_mapped_from_the_artifact() {
    let module = load(&artifact().build(), Verify::Full).unwrap();
    let image = module
        .memory_image(DefinedMemoryIndex::from_u32(0))
        .unwrap();
    assert_eq!(
        (
            image.bytes.len(),
            image.memory_offset,
            image.file_offset % 4096
        ),
        (4096, 4096, 0)
    );
    let mapping = Mapping::reserve(4096).unwrap();
    // SAFETY: nobody uses the new mapping yet; the read is of the page just mapped.
    let first = unsafe {
        mapping
            .map_file_copy(0..4096, image.file, image.file_offset)
            .unwrap();
        mapping.base().read()
    };
    assert_eq!(first, 7);
}
