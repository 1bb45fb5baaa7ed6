//! Functions that were compiled before are not compiled again, and what comes out is the same.

use cowling_abi::artifact::Header;
use cowling_abi::knobs::Knobs;
use cowling_compiler::{CacheStore, Compiler};
use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex};

/// A store in memory that counts.
#[derive(Debug, Default)]
struct Memory(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    values: HashMap<Vec<u8>, Vec<u8>>,
    hits: usize,
    misses: usize,
}

impl CacheStore for Memory {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut kept = self.0.lock().unwrap();
        let found = kept.values.get(key).cloned();
        match found {
            Some(_) => kept.hits += 1,
            None => kept.misses += 1,
        }
        found.map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut kept = self.0.lock().unwrap();
        kept.values.insert(key.to_vec(), value).is_none()
    }
}

impl Memory {
    /// Hits and misses since the last time.
    fn counts(&self) -> (usize, usize) {
        let mut kept = self.0.lock().unwrap();
        (mem::take(&mut kept.hits), mem::take(&mut kept.misses))
    }

    fn each(&self, change: impl Fn(&mut Vec<u8>)) {
        let mut kept = self.0.lock().unwrap();
        kept.values.values_mut().for_each(change);
    }
}

fn with_store(store: &Arc<Memory>, knobs: &Knobs) -> Compiler {
    let mut compiler = Compiler::new(knobs).unwrap();
    compiler.use_store(store.clone());
    compiler
}

fn compile(compiler: &Compiler, wat: &str) -> Vec<u8> {
    let wasm = wat::parse_str(wat).unwrap();
    compiler.compile(&wasm, &|_, _| {}).unwrap()
}

/// A module with what pieces of code can have: calls, traps, exceptions, constants, many blocks. Five functions.
fn module(front: &str, between: &str, constant: i32) -> String {
    format!(
        r#"(module
            (import "host" "f" (func $host (param i32)))
            (tag $tag (param i32))
            (memory 1)
            (global $g (mut i64) (i64.const 5))
            (table 4 funcref)
            {front}
            (func $divide (export "divide") (param i32 i32) (result i32)
                (i32.div_u (local.get 0) (local.get 1)))
            (func $store (param i32 f64)
                (f64.store offset=8 (local.get 0) (f64.add (local.get 1) (f64.const 1.5))))
            {between}
            (func $calls (export "calls") (param i32) (result i32)
                (call $host (local.get 0))
                (call $store (local.get 0) (f64.const 3))
                (call $divide (i32.const {constant}) (local.get 0)))
            (func $catches (export "catches") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (result i32) (catch $tag $caught)
                        (global.set $g (i64.extend_i32_s (local.get 0)))
                        (call $calls (local.get 0)))))
            (func (export "loops") (param i32) (result i32) (local $sum i32)
                (loop $again
                    (local.set $sum (i32.add (local.get $sum) (call $divide (local.get 0) (i32.const 3))))
                    (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (v128.store (i32.const 0) (v128.const i32x4 1 2 3 4))
                (local.get $sum))
        )"#
    )
}

/// A function that is another one each time.
fn more(number: i32) -> String {
    format!("(func (param i32) (result i32) (i32.xor (local.get 0) (i32.const {number})))")
}

const FUNCTIONS: usize = 5;

#[test]
fn only_what_has_changed_is_compiled_again() {
    // What changes from the module before, and how many of its functions are new then.
    let cases = [
        ("nothing", module("", "", 100), 0),
        ("a constant in one function", module("", "", 101), 1),
        ("a function in front of all", module(&more(1), "", 101), 1),
        ("one in between", module(&more(1), &more(2), 101), 1),
        ("none of these", module("", "", 101), 0),
        ("as it was first", module("", "", 100), 0),
        ("the order", module(&more(2), &more(1), 100), 0),
        (
            "a name, an export, a data segment",
            module(
                r#"(export "new" (func $divide)) (data (i32.const 9) "x")"#,
                "",
                100,
            ),
            0,
        ),
        (
            // Three of the functions use what lies behind it in the context.
            "a global",
            module("(global (mut i32) (i32.const 0))", "", 100),
            3,
        ),
    ];
    let store = Arc::new(Memory::default());
    let compiler = with_store(&store, &Knobs::default());
    let without = Compiler::new(&Knobs::default()).unwrap();
    compile(&compiler, &module("", "", 100));
    assert_eq!(store.counts(), (0, FUNCTIONS));
    for (what, wat, new) in cases {
        let artifact = compile(&compiler, &wat);
        let (hits, misses) = store.counts();
        assert!(misses <= new, "{what}: {misses} compiled again");
        assert!(hits >= FUNCTIONS - new, "{what}: {hits} found");
        assert!(artifact == compile(&without, &wat), "{what}");
    }
}

#[test]
fn what_is_stored_does_not_depend_on_threads() {
    let wat = module(&more(1), &more(2), 7);
    let stores = [false, true].map(|parallel_compilation| {
        let store = Arc::new(Memory::default());
        let knobs = Knobs {
            parallel_compilation,
            ..Knobs::default()
        };
        compile(&with_store(&store, &knobs), &wat);
        compile(&with_store(&store, &knobs), &wat);
        assert_eq!(store.counts(), (FUNCTIONS + 2, FUNCTIONS + 2));
        mem::take(&mut store.0.lock().unwrap().values)
    });
    assert_eq!(stores[0], stores[1]);
}

#[test]
fn compilations_may_share_a_store_at_once() {
    let store = Arc::new(Memory::default());
    let compiler = with_store(&store, &Knobs::default());
    let without = Compiler::new(&Knobs::default()).unwrap();
    let modules: Vec<String> = (0..8).map(|n| module(&more(n % 3), "", n % 2)).collect();
    std::thread::scope(|scope| {
        for wat in &modules {
            scope.spawn(|| assert!(compile(&compiler, wat) == compile(&without, wat)));
        }
    });
    // Four of the five are the same in all, one is one of two, and one of three is added.
    assert_eq!(store.0.lock().unwrap().values.len(), FUNCTIONS - 1 + 2 + 3);
}

#[test]
fn other_settings_and_processors_do_not_share_functions() {
    let wat = module("", "", 1);
    let store = Arc::new(Memory::default());
    compile(&with_store(&store, &Knobs::default()), &wat);
    store.counts();
    for (knob, value) in [
        ("cranelift_opt_level", "none"),
        ("cranelift_nan_canonicalization", "true"),
        ("cranelift_regalloc_algorithm", "single_pass"),
        ("generate_address_map", "false"),
        ("memory_guard_size", "0"),
    ] {
        let mut knobs = Knobs::default();
        knobs.set(knob, value).unwrap();
        let artifact = compile(&with_store(&store, &knobs), &wat);
        let (hits, misses) = store.counts();
        match knob {
            // These change those functions only that they matter for.
            "memory_guard_size" | "cranelift_nan_canonicalization" | "generate_address_map" => {
                assert!(misses > 0, "{knob}");
            }
            _ => assert_eq!((hits, misses), (0, FUNCTIONS), "{knob}"),
        }
        let without = Compiler::new(&knobs).unwrap();
        assert!(artifact == compile(&without, &wat), "{knob}");
    }
    let knobs = Knobs::default();
    let mut header = Header::for_this_machine(&knobs);
    header.cpu_features.retain(|feature| feature != "has_bmi1");
    let mut older = Compiler::for_header(&knobs, header).unwrap();
    older.use_store(store.clone());
    compile(&older, &wat);
    assert_eq!(store.counts(), (0, FUNCTIONS));
}

#[test]
fn damaged_values_are_misses() {
    let wat = module("", "", 1);
    let store = Arc::new(Memory::default());
    let compiler = with_store(&store, &Knobs::default());
    let whole = compile(&compiler, &wat);
    let values = store.0.lock().unwrap().values.clone();
    let damages: [fn(&mut Vec<u8>); 6] = [
        |value| value.clear(),
        |value| value.truncate(15),
        |value| value.truncate(value.len() / 2),
        |value| value.push(0),
        |value| value[0] ^= 1,
        |value| *value.last_mut().unwrap() ^= 0x80,
    ];
    for damage in damages {
        store.each(damage);
        assert!(compile(&compiler, &wat) == whole);
        // All that were damaged have been replaced.
        assert!(store.0.lock().unwrap().values == values);
    }
    // One under another's key is damaged, too.
    {
        let mut kept = store.0.lock().unwrap();
        let others: Vec<_> = (kept.values.values())
            .cycle()
            .skip(1)
            .take(FUNCTIONS)
            .cloned()
            .collect();
        for (value, other) in kept.values.values_mut().zip(others) {
            *value = other;
        }
    }
    assert!(compile(&compiler, &wat) == whole);
}
