//! Facts read from modules, by example.

use super::{Parsed, parse};
use crate::error::CompileError;
use cowling_abi::knobs::Knobs;
use cowling_abi::module::{ConstOp, ElementItems, SegmentMode};
use cowling_abi::{EntityIndex, FuncIndex, ModuleInfo};

fn with_facts(wat: &str, look: impl FnOnce(&Parsed<'_>)) {
    let wasm = wat::parse_str(wat).unwrap_or_else(|e| panic!("{wat}: {e}"));
    let parsed = parse(&wasm, &Knobs::default()).unwrap_or_else(|e| panic!("{wat}: {e}"));
    look(&parsed);
}

/// A fact as text.
type Fact = fn(&ModuleInfo) -> String;

#[test]
fn facts_are_read() {
    let table: &[(&str, Fact, &str)] = &[
        (
            "(module $hello)",
            |i| format!("{:?}", i.name),
            r#"Some("hello")"#,
        ),
        (
            r#"(module (import "m" "f" (func (param i32 funcref) (result v128))))"#,
            |i| {
                let import = &i.imports[0];
                let ty = i.entity_type(import.entity);
                format!("{} {} {ty}", import.module, import.field)
            },
            "m f (func (param i32 funcref) (result v128))",
        ),
        (
            r#"(module (import "m" "t" (table 1 2 externref)) (import "m" "g" (global (mut f64)))
                (import "m" "m" (memory 3)) (import "m" "e" (tag (param i32))))"#,
            |i| {
                let types = i
                    .imports
                    .iter()
                    .map(|import| i.entity_type(import.entity).to_string());
                types.collect::<Vec<_>>().join(" ")
            },
            "(table 1 2 externref) (global (mut f64)) (memory 3) (tag (param i32))",
        ),
        (
            r#"(module (import "m" "f" (func)) (func) (func) (table 1 funcref) (memory 1 2) (global i32 (i32.const 7)))"#,
            |i| {
                format!(
                    "{} {} {} {} {}",
                    i.imported_functions,
                    i.defined_func_count(),
                    i.defined_table_count(),
                    i.defined_memory_count(),
                    i.defined_global_count()
                )
            },
            "1 2 1 1 1",
        ),
        (
            r#"(module (func (export "a")) (memory (export "b") 1) (global (export "c") i32 (i32.const 0))
                (table (export "d") 0 funcref) (tag (export "e")))"#,
            |i| {
                let exports = i.exports.iter().map(|(name, entity)| {
                    let kind = match entity {
                        EntityIndex::Func(_) => "func",
                        EntityIndex::Table(_) => "table",
                        EntityIndex::Memory(_) => "memory",
                        EntityIndex::Global(_) => "global",
                        EntityIndex::Tag(_) => "tag",
                    };
                    format!("{name}={kind}")
                });
                exports.collect::<Vec<_>>().join(" ")
            },
            "a=func b=memory c=global d=table e=tag",
        ),
        (
            "(module (func) (func) (start 1))",
            |i| format!("{:?}", i.start.map(FuncIndex::as_u32)),
            "Some(1)",
        ),
        (
            "(module (global i64 (i64.add (i64.const 1) (i64.mul (i64.const 2) (i64.const 3)))))",
            |i| format!("{:?}", i.global_inits.values().next().map(|e| &e.ops)),
            "Some([I64Const(1), I64Const(2), I64Const(3), I64Mul, I64Add])",
        ),
        (
            "(module (global v128 (v128.const i32x4 1 0 0 2)) (global externref (ref.null extern)))",
            |i| {
                format!(
                    "{:?}",
                    i.global_inits
                        .values()
                        .map(|e| e.ops[0])
                        .collect::<Vec<_>>()
                )
            },
            "[V128Const(158456325028528675187087900673), RefNull(Extern)]",
        ),
    ];
    for (wat, fact, expected) in table {
        with_facts(wat, |parsed| {
            assert_eq!(fact(&parsed.info), *expected, "{wat}")
        });
    }
}

#[test]
fn functions_escape_through_exports_segments_initialisers_and_as_start_only() {
    let table = [
        (r#"(module (func (export "a")) (func))"#, "0"),
        ("(module (func) (func) (start 0))", "0"),
        ("(module (func) (func (call 0)))", ""),
        ("(module (func) (func) (elem declare func 1))", "1"),
        (
            "(module (func) (func) (elem funcref (ref.func 1) (ref.null func)))",
            "1",
        ),
        (
            "(module (table 1 funcref) (func) (func) (elem (i32.const 0) func 1))",
            "1",
        ),
        ("(module (func) (func) (global funcref (ref.func 0)))", "0"),
        (
            r#"(module (import "m" "f" (func)) (func) (export "f" (func 0)) (export "g" (func 0)))"#,
            "0",
        ),
    ];
    for (wat, expected) in table {
        with_facts(wat, |parsed| {
            let functions = parsed.info.functions.iter();
            let escaping: Vec<_> = functions
                .filter(|(_, f)| f.funcref.is_some())
                .map(|(index, _)| index.as_u32().to_string())
                .collect();
            assert_eq!(escaping.join(" "), expected, "{wat}");
            assert_eq!(
                parsed.info.escaping_functions as usize,
                escaping.len(),
                "{wat}"
            );
        });
    }
}

#[test]
fn segments_are_read() {
    let wat = r#"(module
        (import "m" "g" (global i32)) (import "m" "t" (table 0 funcref)) (memory 1) (func) (func)
        (elem (table 0) (offset (global.get 0)) func 1 0)
        (elem externref (ref.null extern))
        (elem declare func 0)
        (data (i32.const 5) "active") (data "passive"))"#;
    with_facts(wat, |parsed| {
        let elements: Vec<_> = parsed.info.elements.values().collect();
        match &elements[0].mode {
            SegmentMode::Active { target, offset } => {
                assert_eq!(target.as_u32(), 0);
                assert!(matches!(offset.ops[..], [ConstOp::GlobalGet(_)]));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(&elements[0].items, ElementItems::Functions(f) if f.len() == 2));
        assert!(matches!(&elements[1].items, ElementItems::Expressions(e) if e.len() == 1));
        assert!(matches!(elements[1].mode, SegmentMode::Passive));
        assert!(matches!(elements[2].mode, SegmentMode::Declared));
        assert!(elements[2].items.is_empty());
        let data: Vec<_> = parsed.data.values().copied().collect();
        assert_eq!(data, [&b"active"[..], &b"passive"[..]]);
    });
}

/// A module with two functions and this function subsection in its name section.
fn named(subsection: &[u8]) -> Vec<u8> {
    let mut wasm = wat::parse_str("(module (func) (func))").unwrap();
    let mut section = b"\x04name\x01".to_vec();
    section.push(subsection.len() as u8);
    section.extend_from_slice(subsection);
    wasm.push(0);
    wasm.push(section.len() as u8);
    wasm.extend_from_slice(&section);
    wasm
}

#[test]
fn name_sections_are_not_trusted() {
    let table: &[(&[u8], &str)] = &[
        (b"\x02\x00\x01a\x01\x01b", "0=a 1=b"),
        (b"\x02\x01\x01b\x00\x01a", "1=b"),
        (b"\x02\x00\x01a\x00\x01b", "0=a"),
        (b"\x02\x00\x01a\x09\x01b", "0=a"),
        (b"\x02\x00\x01a\x01\xffb", "0=a"),
        (b"\xff\xff\xff\xff\x0f\x00\x01a", "0=a"),
        (b"\x01\x00\x02\xff\xff", ""),
        (b"", ""),
    ];
    for (subsection, expected) in table {
        let wasm = named(subsection);
        let parsed = parse(&wasm, &Knobs::default()).unwrap();
        let names = parsed.names.iter();
        let names: Vec<_> = names
            .map(|(i, name)| format!("{}={name}", i.as_u32()))
            .collect();
        assert_eq!(names.join(" "), *expected, "{subsection:?}");
        let first = parsed.name(FuncIndex::from_u32(0));
        assert_eq!(
            first.is_some(),
            expected.starts_with("0="),
            "{subsection:?}"
        );
    }
}

#[test]
fn proposals_are_refused_unless_their_knob_is_on() {
    let table = [
        (
            "wasm_multi_value",
            "(module (func (result i32 i32) unreachable))",
        ),
        ("wasm_bulk_memory", r#"(module (memory 1) (data "x"))"#),
        ("wasm_reference_types", "(module (table 1 externref))"),
        ("wasm_simd", "(module (global v128 (v128.const i64x2 0 0)))"),
        (
            "wasm_extended_const",
            "(module (global i32 (i32.add (i32.const 1) (i32.const 1))))",
        ),
        ("wasm_multi_memory", "(module (memory 1) (memory 1))"),
        ("wasm_exceptions", "(module (tag))"),
        ("wasm_memory64", "(module (memory i64 1))"),
        ("wasm_memory64", "(module (table i64 1 funcref))"),
        ("wasm_custom_page_sizes", "(module (memory 1 (pagesize 1)))"),
        ("wasm_threads", "(module (memory 1 1 shared))"),
        (
            "wasm_compact_imports",
            r#"(module (import "m" (item "a" (func)) (item "b" (memory 1))))"#,
        ),
        (
            "wasm_function_references",
            "(module (type (func)) (func (param (ref 0))))",
        ),
        ("wasm_gc", "(module (type (struct)))"),
        ("wasm_gc", "(module (type (sub (func))))"),
    ];
    for (knob, wat) in table {
        let wasm = wat::parse_str(wat).unwrap();
        let mut knobs = Knobs::default();
        assert!(parse(&wasm, &knobs).is_ok(), "{knob}");
        knobs.set(knob, "false").unwrap();
        let error = parse(&wasm, &knobs).map(|_| ());
        assert!(
            matches!(error, Err(CompileError::Invalid { .. })),
            "{knob}: {error:?}"
        );
    }
}

#[test]
fn compact_imports_are_imports_like_others() {
    let list = |wat: &str| {
        let wasm = wat::parse_str(wat).unwrap();
        let info = parse(&wasm, &Knobs::default()).unwrap().info;
        let imports = info.imports.iter();
        let text = imports.map(|i| {
            let ty = info.entity_type(i.entity);
            format!("{} {} {ty}", i.module, i.field)
        });
        text.collect::<Vec<_>>()
    };
    let plain = r#"(module (import "m" "a" (func)) (import "m" "b" (memory 1))
        (import "n" "c" (global i32)) (import "n" "d" (global i32)))"#;
    let compact = r#"(module (import "m" (item "a" (func)) (item "b" (memory 1)))
        (import "n" (item "c") (item "d") (global i32)))"#;
    assert_ne!(
        wat::parse_str(plain).unwrap(),
        wat::parse_str(compact).unwrap()
    );
    assert_eq!(list(plain), list(compact));
    assert_eq!(list(plain).len(), 4);
}

#[test]
fn branch_hints_that_are_malformed_or_out_of_place_do_no_harm() {
    let section = |bytes: &[u8]| {
        let mut wasm = wat::parse_str("(module)").unwrap();
        let name = b"metadata.code.branch_hint";
        let len = (1 + name.len() + bytes.len()) as u8;
        wasm.extend([0, len, name.len() as u8]);
        wasm.extend(name);
        wasm.extend(bytes);
        parse(&wasm, &Knobs::default()).unwrap().hints
    };
    assert_eq!(section(&[]).len(), 0);
    // For function 7: at offset 3, taken; the next one is cut short.
    let hints = section(&[1, 7, 2, 3, 1, 1, 4, 1]);
    assert!(hints.values().all(|hints| hints.len() <= 1), "{hints:?}");
    let hints = section(&[1, 7, 1, 3, 1, 1]);
    assert!(hints[&FuncIndex::from_u32(7)][0].taken);
    assert_eq!(section(&[1, 7, 1, 3, 1, 9]).len(), 0);
    // Several at a place, and one from before.
    let hints = section(&[1, 7, 5, 3, 1, 1, 3, 1, 0, 9, 1, 0, 8, 1, 1, 10, 1, 1]);
    let hints = hints[&FuncIndex::from_u32(7)].iter();
    let hints: Vec<_> = hints.map(|hint| (hint.func_offset, hint.taken)).collect();
    assert_eq!(hints, [(3, true), (9, false), (10, true)]);
    assert_eq!(section(&[0xff, 0xff, 0xff, 0xff, 0x0f]).len(), 0);
}

#[test]
fn a_component_is_refused_as_such() {
    let wasm = wat::parse_str("(component)").unwrap();
    match parse(&wasm, &Knobs::default()).map(|_| ()) {
        Err(error) => assert!(error.to_string().contains("component"), "{error}"),
        Ok(()) => panic!("accepted"),
    }
}
