//! Hostile and broken input: always an error with a reason, never a panic.

use crate::support::{assert_says, trap};
use cowling::*;

/// A module that uses most sections.
const RICH: &str = r#"(module $rich
    (type $t (func (param i32) (result i32)))
    (import "m" "f" (func $f (type $t)))
    (memory (export "memory") 1 2)
    (table (export "table") 4 funcref)
    (global $g (export "g") (mut i64) (i64.const 77))
    (elem (i32.const 1) $own $f)
    (data (i32.const 8) "some data")
    (data $passive "passive data")
    (func $own (export "own") (type $t) (local v128)
        (block $b (loop $l (br_if $b (i32.eqz (local.get 0)))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br $l)))
        (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 4))
        (call_indirect (type $t) (local.get 0) (i32.const 2)))
    (func $start (global.set $g (i64.const 1)))
    (start $start))"#;

/// Compiles, and instantiates what compiles. Anything may fail, nothing may panic; guests may loop forever, so none is called.
fn try_all(engine: &Engine, bytes: &[u8]) -> bool {
    let valid = Module::validate(engine, bytes).is_ok();
    let module = Module::from_binary(engine, bytes);
    assert_eq!(
        valid,
        module.is_ok(),
        "validation and compilation disagree: {module:?}"
    );
    valid
}

#[test]
fn a_module_cut_off_anywhere_is_refused_or_whole() {
    let engine = Engine::default();
    let wasm = wat::parse_str(RICH).unwrap();
    Module::from_binary(&engine, &wasm).unwrap();
    let accepted: Vec<_> = (0..wasm.len())
        .filter(|len| try_all(&engine, &wasm[..*len]))
        .collect();
    // Cuts between sections can leave a smaller module; a module that declares functions needs their bodies.
    assert!(accepted.iter().all(|len| *len >= 8), "{accepted:?}");
    assert!(accepted.len() < 10, "{accepted:?}");
}

#[test]
fn a_module_with_any_byte_changed_is_refused_or_another_module() {
    let engine = Engine::default();
    let wasm = wat::parse_str(RICH).unwrap();
    for at in 0..wasm.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut altered = wasm.clone();
            altered[at] ^= change;
            try_all(&engine, &altered);
        }
    }
}

/// Encodes an unsigned number as LEB128.
fn leb(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// A module of raw sections.
fn raw(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    for (id, body) in sections {
        wasm.push(*id);
        wasm.extend(leb(body.len() as u64));
        wasm.extend(body);
    }
    wasm
}

#[test]
fn modules_that_claim_more_than_they_hold_are_refused_at_once() {
    let engine = Engine::default();
    let huge = u64::from(u32::MAX);
    let mut cases: Vec<Vec<u8>> = (1..=13).map(|id| raw(&[(id, leb(huge))])).collect();
    // A section longer than the file.
    cases.push(b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f".to_vec());
    // A function with 2^32 - 1 locals, in one declaration and in many.
    let locals = |declarations: &[u64]| {
        let mut body = leb(declarations.len() as u64);
        for n in declarations {
            body.extend(leb(*n));
            body.push(0x7f);
        }
        body.push(0x0b);
        let mut code = vec![1];
        code.extend(leb(body.len() as u64));
        code.extend(body);
        raw(&[(1, vec![1, 0x60, 0, 0]), (3, vec![1, 0]), (10, code)])
    };
    assert!(try_all(&engine, &locals(&[10])));
    cases.push(locals(&[huge]));
    cases.push(locals(&[30_000, 30_000]));
    // A br_table of 2^32 - 1 targets.
    let mut body = vec![0, 0x41, 0, 0x0e];
    body.extend(leb(huge));
    body.extend([0, 0, 0x0b]);
    let mut code = vec![1, body.len() as u8];
    code.extend(body);
    cases.push(raw(&[
        (1, vec![1, 0x60, 0, 0]),
        (3, vec![1, 0]),
        (10, code),
    ]));
    for wasm in cases {
        assert!(!try_all(&engine, &wasm), "accepted: {wasm:02x?}");
    }
}

#[test]
fn deep_nesting_compiles_or_is_refused_but_overflows_no_stack() {
    let engine = Engine::default();
    // Loops take the code generator time that grows faster than their number.
    for (depth, opens) in [(50_000usize, &[0x02, 0x04][..]), (1_000, &[0x03])] {
        for open in opens {
            let condition: &[u8] = if *open == 0x04 { &[0x41, 0x00] } else { &[] };
            let open = [condition, &[*open, 0x40]].concat();
            let mut body = vec![0];
            body.extend(open.repeat(depth));
            body.extend([0x0b].repeat(depth));
            body.push(0x0b);
            let mut code = vec![1];
            code.extend(leb(body.len() as u64));
            code.extend(body);
            let wasm = raw(&[(1, vec![1, 0x60, 0, 0]), (3, vec![1, 0]), (10, code)]);
            assert!(try_all(&engine, &wasm), "{depth}");
        }
    }
}

#[test]
fn what_no_machine_has_is_refused_when_it_is_instantiated() {
    let cases: &[(&str, &[&str])] = &[
        (
            "(module (table 0xffffffff funcref))",
            &["(table 4294967295 funcref)"],
        ),
        (
            "(module (table 0xffffffff externref))",
            &["(table 4294967295 externref)"],
        ),
    ];
    for (wat, says) in cases {
        let mut store = Store::<()>::default();
        let module = Module::new(store.engine(), wat).unwrap();
        // A machine may grant the address space; then the instance works.
        if let Err(error) = Instance::new(&mut store, &module, &[]) {
            assert_says(&error, says);
        }
    }
    let mut store = Store::<()>::default();
    let module = Module::new(store.engine(), "(module (memory 65536))").unwrap();
    Instance::new(&mut store, &module, &[]).unwrap();
    for too_large in [
        "(module (memory 65537))",
        "(module (memory 2 1))",
        "(module (table 2 1 funcref))",
    ] {
        assert!(
            Module::new(store.engine(), too_large).is_err(),
            "{too_large}"
        );
    }
}

#[test]
fn active_segments_outside_trap() {
    for wat in [
        r#"(module (memory 1) (data (i32.const 65536) "x"))"#,
        r#"(module (memory 1) (data (i32.const -1) "xy"))"#,
        r#"(module (memory 0) (data (i32.const 1) ""))"#,
    ] {
        let mut store = Store::<()>::default();
        let module = Module::new(store.engine(), wat).unwrap();
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(trap(&error), Trap::MemoryOutOfBounds, "{wat}");
    }
    for wat in [
        "(module (table 1 funcref) (elem (i32.const 1) $f) (func $f))",
        "(module (table 1 funcref) (elem (i32.const -1) $f $f) (func $f))",
        "(module (table 0 funcref) (elem (i32.const 1) func))",
    ] {
        let mut store = Store::<()>::default();
        let module = Module::new(store.engine(), wat).unwrap();
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(trap(&error), Trap::TableOutOfBounds, "{wat}");
    }
}

#[test]
fn what_is_no_module_is_refused_with_a_reason() {
    let engine = Engine::default();
    let elf = b"\x7fELF and then something";
    let cases: &[(&[u8], &[&str])] = &[
        (b"", &["empty"]),
        (b"\0asm", &["unexpected end"]),
        (b"\0as", &["unexpected end"]),
        (b"\0asm\x02\0\0\0", &["version"]),
        (b"\0elf\x01\0\0\0", &["magic"]),
        (b"(module (func (result i32)))", &["type mismatch"]),
        (b"(module (func", &["expected"]),
        (b"(module\n  (func (call $nothing)))", &["$nothing", "2"]),
        (b"\xff\xfe\xfd", &["neither", "text"]),
        (b"#!/bin/sh\nexit 1\n", &["#"]),
        (elf, &["ELF"]),
    ];
    for (bytes, says) in cases {
        let error = Module::new(&engine, bytes).unwrap_err();
        assert_says(&error, says);
        let error = engine.precompile_module(bytes).unwrap_err();
        assert_says(&error, says);
    }
    for deep in [
        "(".repeat(1 << 20),
        format!("(module (func {}", "(block ".repeat(1 << 18)),
    ] {
        assert!(Module::new(&engine, deep).is_err());
    }
    let component = b"\0asm\x0d\0\x01\0";
    assert_says(
        &Module::new(&engine, component).unwrap_err(),
        &["component"],
    );
}

#[test]
fn invalid_modules_say_where() {
    let wasm = wat::parse_str("(module (func) (func (result i32) (i64.const 0)))").unwrap();
    let error = Module::new(&Engine::default(), &wasm).unwrap_err();
    assert!(
        matches!(
            error.downcast_ref(),
            Some(CompileError::Invalid { offset: 20.., .. })
        ),
        "{error:?}"
    );
    assert_says(&error, &["type mismatch", "offset 0x"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let engine = Engine::default();
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.wasm");
    std::fs::write(&bad, b"\0asm\x01\0\0\0\x55").unwrap();
    let cases = [
        (dir.path().join("missing.wasm"), "No such file"),
        (dir.path().to_path_buf(), "directory"),
        (bad, "unexpected end"),
    ];
    for (path, says) in cases {
        let error = Module::from_file(&engine, &path).unwrap_err();
        assert_says(&error, &[path.to_str().unwrap(), says]);
    }
}
