//! Bad modules: an error each, never a panic, and never a cost that only a declared number justifies.

use cowling_abi::knobs::Knobs;
use cowling_compiler::{CompileError, Compiler};

/// A bit of everything.
const SAMPLE: &str = r#"(module $everything
    (import "m" "f" (func $f (param i32) (result i64)))
    (import "m" "g" (global $g i32))
    (import "m" "t" (tag $t (param i32)))
    (type $unary (func (param i32) (result i32)))
    (global $counter (mut i64) (i64.add (i64.const 1) (i64.const 2)))
    (global funcref (ref.func $main))
    (memory (export "memory") 2 100)
    (table (export "table") 10 funcref)
    (table 1 externref)
    (start $init)
    (func $init (global.set $counter (i64.const 0)))
    (func $main (export "main") (param i32) (result i32) (local f64 v128)
        (block $out (result i32)
            (loop $again
                (br_if $out (i32.const 3) (i32.eqz (local.get 0)))
                (drop)
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br $again))
            (unreachable)))
    (func $vectors (param i32) (result v128)
        (i32x4.add (v128.load (local.get 0)) (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31
            (v128.const i64x2 1 2) (i32x4.splat (local.get 0)))))
    (func $tables (param i32)
        (table.set 0 (local.get 0) (ref.func $main))
        (drop (call_indirect (type $unary) (i32.const 1) (local.get 0)))
        (table.init 0 1 (i32.const 0) (i32.const 0) (i32.const 1))
        (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 1))
        (memory.fill (i32.const 0) (i32.const 0) (i32.const 8)))
    (func $throws (param i32) (result i32)
        (block $caught (result i32)
            (try_table (catch $t $caught) (throw $t (local.get 0)))
            (i32.const 1)))
    (func $switch (param i32) (result i32)
        (block (block (block (br_table 0 1 2 (local.get 0))) (return (i32.const 1)))
            (return (i32.trunc_sat_f64_s (f64.const 1.5))))
        (i32.const 2))
    (elem (i32.const 1) func $main)
    (elem funcref (ref.func $main) (ref.null func))
    (data (i32.const 8) "hello")
    (data "passive"))"#;

fn sample() -> Vec<u8> {
    wat::parse_str(SAMPLE).expect("the sample is well-formed")
}

/// The code generator's own checks are on: code made from a mutated module must be right too.
fn compiler() -> Compiler {
    let knobs = Knobs {
        cranelift_debug_verifier: true,
        parallel_compilation: false,
        ..Knobs::default()
    };
    Compiler::new(&knobs).expect("this machine is supported")
}

fn compile(wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    compiler().compile(wasm, &|_, _| {})
}

#[test]
fn the_sample_is_valid() {
    let wasm = sample();
    compile(&wasm).unwrap();
    compiler().validate(&wasm).unwrap();
}

#[test]
fn truncated_modules_are_refused() {
    let wasm = sample();
    let compiler = compiler();
    let mut accepted = Vec::new();
    for len in 0..wasm.len() {
        let compiled = compiler.compile(&wasm[..len], &|_, _| {});
        let validated = compiler.validate(&wasm[..len]);
        assert_eq!(compiled.is_ok(), validated.is_ok(), "length {len}");
        match compiled {
            Ok(_) => accepted.push(len),
            Err(CompileError::Invalid { offset, .. }) => {
                assert!(offset <= len as u64, "length {len}");
            }
            Err(other) => panic!("length {len}: {other}"),
        }
    }
    // What is left when the cut is between two sections may be a smaller module: an empty one, one that only has types and
    // imports, one without names. Within the sections that name each other there is no such place.
    assert!(accepted.contains(&8) && accepted.len() <= 4, "{accepted:?}");
}

/// A small generator, the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below
    }
}

#[test]
fn altered_modules_compile_or_are_refused() {
    let wasm = sample();
    let compiler = compiler();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..4000 {
        let mut altered = wasm.clone();
        for _ in 0..=random.next(3) {
            let at = 8 + random.next(altered.len() - 8);
            match random.next(4) {
                0 => altered[at] ^= 1 << random.next(8),
                1 => altered[at] = random.next(256) as u8,
                2 => altered.insert(at, random.next(256) as u8),
                _ => {
                    altered.remove(at);
                }
            }
        }
        match compiler.compile(&altered, &|_, _| {}) {
            Ok(_) => accepted += 1,
            Err(CompileError::Codegen { function, message }) => panic!("{function}: {message}"),
            Err(_) => refused += 1,
        }
    }
    // Otherwise the test tests nothing.
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
}

#[test]
fn errors_say_what_and_where_in_one_line() {
    let table: &[(&[u8], &str)] = &[
        (b"", "unexpected end"),
        (b"garbage\n", "magic"),
        (b"\0asm\x02\0\0\0", "version"),
        (b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f", "unexpected end"),
    ];
    for (wasm, expected) in table {
        let error = compile(wasm).unwrap_err().to_string();
        assert!(error.contains(expected), "{wasm:?}: {error}");
        assert!(error.contains("offset 0x"), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let wasm = wat::parse_str("(module (func (result i32) (i64.const 0)))").unwrap();
    let error = compile(&wasm).unwrap_err().to_string();
    assert!(error.contains("type mismatch"), "{error}");
}

#[test]
fn the_first_invalid_function_is_reported_whatever_the_number_of_threads() {
    let mut wat = String::from("(module");
    for index in 0..300 {
        wat += match index {
            40 => "(func (result i32) (i64.const 0))",
            200 => "(func (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            _ => "(func)",
        };
    }
    wat.push(')');
    let wasm = wat::parse_str(&wat).unwrap();
    let errors = [false, true].map(|parallel_compilation| {
        let knobs = Knobs {
            parallel_compilation,
            ..Knobs::default()
        };
        let compiler = Compiler::new(&knobs).unwrap();
        let error = compiler.compile(&wasm, &|_, _| {}).unwrap_err();
        assert_eq!(compiler.validate(&wasm).unwrap_err(), error);
        error
    });
    assert_eq!(errors[0], errors[1]);
    let message = errors[0].to_string();
    assert!(message.contains("type mismatch"), "{message}");
}

#[test]
fn declared_sizes_cost_nothing() {
    let mut many = String::from("(module (func $f)");
    for index in 0..90 {
        many += &format!(
            r#"(memory 65536) (data (memory {index}) (i32.const 0) "a") (data (memory {index}) (i32.const -1) "z")
            (table 4294967295 funcref) (elem (table {index}) (i32.const -2) func $f)"#
        );
    }
    many.push(')');
    for wat in [
        "(module (memory 65536))",
        "(module (memory 0 65536) (table 0 0xffffffff funcref))",
        "(module (table 0xffffffff funcref) (table 0xffffffff externref))",
        r#"(module (memory 65536) (data (i32.const -1) "z"))"#,
        "(module (table 0xffffffff funcref) (func) (elem (i32.const -2) func 0))",
        &many,
    ] {
        let wasm = wat::parse_str(wat).unwrap();
        let len = compile(&wasm).unwrap().len();
        assert!(len < 17 << 20, "{} ...: {len} bytes", &wat[..23]);
    }
}

#[test]
fn huge_counts_without_content_are_refused() {
    // Each section declares four billion entries and has none.
    for section in [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13] {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.extend_from_slice(&[section, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert!(compile(&wasm).is_err(), "section {section}");
    }
    // A function that declares as many locals as can be written down.
    let mut wasm =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x0a\x01\x08\x01".to_vec();
    wasm.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b]);
    let error = compile(&wasm).unwrap_err().to_string();
    assert!(error.contains("locals"), "{error}");
}

#[test]
fn signatures_up_to_the_limit_compile() {
    let many = |count, ty: &str| vec![ty; count].join(" ");
    // As many parameters and results as validation allows, of the largest type.
    let wat = format!(
        r#"(module (import "m" "f" (func $f (param {v}) (result {v})))
            (func (export "g") (param {v}) (result {v}) {gets} (call $f)))"#,
        v = many(1000, "v128"),
        gets = (0..1000)
            .map(|i| format!("local.get {i} "))
            .collect::<String>(),
    );
    compile(&wat::parse_str(&wat).unwrap()).unwrap();
    let wat = format!("(module (type (func (param {}))))", many(1001, "i32"));
    assert!(compile(&wat::parse_str(&wat).unwrap()).is_err());
}
