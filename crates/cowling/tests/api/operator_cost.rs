//! What operators cost in fuel when the embedder says so.

use crate::support::{assert_says, trap};
use cowling::*;

const PLENTY: u64 = 1 << 40;

/// Fuel that a function with this body takes, or the trap it ends with; and whether the memory is as it was.
fn run(costs: &str, memory: &str, body: &str, fuel: u64) -> (Result<u64>, bool) {
    let mut config = Config::new();
    config.consume_fuel(true);
    config.set_knob("operator_cost", costs).unwrap();
    let engine = Engine::new(&config).unwrap();
    let wat = format!(
        r#"(module {memory} (table $t 1 10 funcref) (table $u 4 funcref) (data $d "abcdef") (type $a (array (mut i32)))
            (elem $e func $f $f) (func $f)
            (func (export "f") (local $n i32) (local $r (ref null $a)) {body}))"#
    );
    let module = Module::new(&engine, wat).unwrap_or_else(|e| panic!("{body}: {e:#}"));
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    store.set_fuel(fuel).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let result = f.call(&mut store, ());
    let used = fuel - store.get_fuel().unwrap();
    let memory = instance.get_export(&mut store, "m");
    let memory = memory.and_then(Extern::into_memory).unwrap();
    let clean = memory.data(&store).iter().all(|byte| *byte == 0);
    (result.map(|()| used), clean)
}

const MEMORY: &str = r#"(memory (export "m") 1 10)"#;

#[test]
fn operators_cost_what_they_are_said_to_cost() {
    let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 100))";
    let cases = [
        ("default", "(drop (i32.const 1))", 1),
        ("I32Const=7,Drop=1", "(drop (i32.const 1))", 8),
        ("End=3", "(block) (block)", 9),
        ("Call=0", "(call $f)", 0),
        ("Call=255", "(call $f) (call $f)", 510),
        ("I32Const=0", fill, 1),
        ("MemoryFill=9", fill, 12),
        ("memory_fill_per_byte=1", fill, 104),
        ("memory_fill_per_byte=255", fill, 25504),
        ("memory_copy_per_byte=2", "(memory.copy (i32.const 9) (i32.const 1) (i32.const 8))", 20),
        ("memory_init_per_byte=2", "(memory.init $d (i32.const 9) (i32.const 1) (i32.const 3))", 10),
        ("memory_grow_per_page=100", "(drop (memory.grow (i32.const 3)))", 302),
        // It costs what is asked for.
        ("memory_grow_per_page=1", "(drop (memory.grow (i32.const -1)))", 0xffff_ffff + 2),
        ("table_grow_per_element=3", "(drop (table.grow $t (ref.null func) (i32.const 2)))", 9),
        ("table_fill_per_element=3", "(table.fill $u (i32.const 0) (ref.null func) (i32.const 4))", 16),
        ("table_copy_per_element=3", "(table.copy $u $u (i32.const 0) (i32.const 1) (i32.const 2))", 10),
        ("table_init_per_element=3", "(table.init $u $e (i32.const 0) (i32.const 0) (i32.const 2))", 10),
        ("array_new_default_per_element=4", "(drop (array.new_default $a (i32.const 10)))", 42),
        ("array_new_per_element=4", "(drop (array.new $a (i32.const 1) (i32.const 10)))", 43),
        ("array_new_data_per_element=4", "(drop (array.new_data $a $d (i32.const 0) (i32.const 1)))", 7),
        (
            "array_fill_per_element=5",
            "(local.set $r (array.new_default $a (i32.const 4)))
             (array.fill $a (local.get $r) (i32.const 0) (i32.const 1) (i32.const 3))",
            3 + 5 + 15,
        ),
        (
            "array_copy_per_element=5",
            "(local.set $r (array.new_default $a (i32.const 4)))
             (array.copy $a $a (local.get $r) (i32.const 0) (local.get $r) (i32.const 1) (i32.const 3))",
            3 + 6 + 15,
        ),
        (
            "array_init_data_per_element=5",
            "(local.set $r (array.new_default $a (i32.const 4)))
             (array.init_data $a $d (local.get $r) (i32.const 0) (i32.const 0) (i32.const 1))",
            3 + 5 + 5,
        ),
        // In a loop, with operands below that live on.
        (
            "memory_fill_per_byte=10,MemoryFill=0,I32Const=0,LocalGet=0,LocalTee=0,I32Add=0,I32LtU=0,BrIf=0",
            "(loop (memory.fill (i32.const 0) (i32.const 0) (local.get $n))
                (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5))))",
            100,
        ),
    ];
    for (costs, body, expected) in cases {
        let (used, _) = run(costs, MEMORY, body, PLENTY);
        assert_eq!(used.unwrap(), expected, "{costs}: {body}");
    }
}

#[test]
fn what_nobody_has_fuel_for_is_not_begun() {
    let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 100))";
    for (fuel, ends) in [(103, false), (104, false), (105, true)] {
        let (result, clean) = run("memory_fill_per_byte=1", MEMORY, fill, fuel);
        assert_eq!(result.is_ok(), ends, "{fuel}");
        assert_eq!(clean, !ends);
        if let Err(error) = result {
            assert_eq!(trap(&error), Trap::OutOfFuel);
        }
    }
    let wide = r#"(memory (export "m") i64 1)"#;
    for pages in ["-1", "0x7fffffffffffffff", "0x1000000000000"] {
        let body = format!("(drop (memory.grow (i64.const {pages})))");
        let (result, _) = run("memory_grow_per_page=255", wide, &body, u64::MAX >> 20);
        assert_eq!(trap(&result.unwrap_err()), Trap::OutOfFuel);
    }
}

#[test]
fn costs_belong_to_artifacts_and_must_be_those_of_operators() {
    let engine = |costs: &str| {
        let mut config = Config::new();
        config.consume_fuel(true).set_knob("operator_cost", costs)?;
        Engine::new(&config)
    };
    let artifact = engine("Call=5")
        .unwrap()
        .precompile_module(b"(module)")
        .unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &artifact).unwrap();
    Module::deserialize_file(&engine("Call=5").unwrap(), file.path()).unwrap();
    for other in ["default", "Call=4", "Call=5,Nop=1"] {
        let error = Module::deserialize_file(&engine(other).unwrap(), file.path()).unwrap_err();
        assert_says(&error, &["operator_cost", "Call=5"]);
    }
    let error = engine("Cal=5").unwrap_err();
    assert_says(&error, &["operator_cost", "no operator `Cal`"]);
    assert_says(
        &engine("Call=256").unwrap_err(),
        &["operator_cost", "Call=256"],
    );
}
