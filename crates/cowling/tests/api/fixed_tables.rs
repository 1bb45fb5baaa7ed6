//! Calls through tables whose contents the compiler knows do what they do through others: each module here is also run with its tables
//! exported, so that they may change and calls go by the instance's own tables.

use cowling::*;

/// What the modules have in common: `$f` functions that say who they are, and `call-TYPE` that call by an index.
const FUNCTIONS: &str = r#"
    (type $none (func (result i32)))
    (type $one (func (param i32) (result i32)))
    (type $same (func (param i32) (result i32)))
    (type $two (func (param i32 i64) (result i32)))
    (import "host" "one" (func $imported (param i32) (result i32)))
    (import "host" "g" (global $g i32))
    (func $a (type $one) (i32.add (local.get 0) (i32.const 10)))
    (func $b (type $same) (i32.add (local.get 0) (i32.const 20)))
    (func $c (type $none) (i32.const 30))
    (func $d (type $two) (i32.add (local.get 0) (i32.wrap_i64 (local.get 1))))
    (func (export "none") (param $i i32) (result i32) (call_indirect (type $none) (local.get $i)))
    (func (export "one") (param $i i32) (result i32) (call_indirect (type $one) (i32.const 1) (local.get $i)))
    (func (export "same") (param $i i32) (result i32) (call_indirect (type $same) (i32.const 2) (local.get $i)))
    (func (export "two") (param $i i32) (result i32)
        (call_indirect (type $two) (i32.const 3) (i64.const 4) (local.get $i)))
    (func (export "tail") (param $i i32) (result i32) (return_call_indirect (type $one) (i32.const 5) (local.get $i)))
    (func (export "third") (param i32) (result i32) (call_indirect (type $one) (i32.const 6) (i32.const 3)))
    (func (export "first") (param i32) (result i32) (call_indirect (type $none) (i32.const 0)))
    (func (export "get") (param $i i32) (result i32) (ref.is_null (table.get 0 (local.get $i))))
    (func (export "size") (param i32) (result i32) (table.size 0))"#;

/// Tables, and what is done to them.
const TABLES: &[&str] = &[
    "(table 6 funcref) (elem (i32.const 1) $a $b $c $d)",
    // Full, with a maximum, and from several segments that overlap.
    "(table 6 6 funcref) (elem (i32.const 0) $a $a $a $a $a $a) (elem (i32.const 2) $b $c)",
    // Empty but for one; much longer than what is said of it.
    "(table 6 funcref) (elem (i32.const 3) $b)",
    "(table 100000 funcref) (elem (i32.const 3) $a)",
    "(table 6 funcref)",
    // With imported functions.
    "(table 6 funcref) (elem (i32.const 0) $imported $a $c $imported $d)",
    // With nulls that are said.
    "(table 6 funcref) (elem (i32.const 0) funcref (ref.null func) (ref.func $a) (ref.func $c) (ref.func $b))",
    // It begins as something else than null.
    "(table 6 6 funcref (ref.func $a))",
    // What lies outside stops the module, or comes from elsewhere.
    "(table 6 funcref) (elem (i32.const 1) $a) (elem (global.get $g) $c)",
    "(table 6 funcref) (elem (i32.const 0) $a $b) (elem $passive func $c $d)
        (func $start (table.init 0 $passive (i32.const 2) (i32.const 0) (i32.const 2))) (start $start)",
    "(table 6 funcref) (elem (i32.const 0) $a $b $c $d)
        (func $start (table.set 0 (i32.const 1) (ref.func $c))) (start $start)",
    "(table 6 funcref) (elem (i32.const 0) $a $b $c $d)
        (func $start (table.copy 0 0 (i32.const 1) (i32.const 0) (i32.const 3))) (start $start)",
    "(table 6 funcref) (elem (i32.const 0) $a $b $c $d)
        (func $start (table.fill 0 (i32.const 1) (ref.func $d) (i32.const 2))) (start $start)",
    "(table 6 funcref) (elem (i32.const 0) $a $b $c $d)
        (func $start (drop (table.grow 0 (ref.func $b) (i32.const 2)))) (start $start)",
    // Another table changes, which takes from this one.
    "(table 6 funcref) (table 6 funcref) (elem (i32.const 0) $a $b $c $d)
        (func $start (table.copy 1 0 (i32.const 1) (i32.const 0) (i32.const 3))) (start $start)",
    "(table $other 6 funcref) (table 6 funcref) (elem (table $other) (i32.const 0) func $a $b $c $d)
        (elem (table 1) (i32.const 0) func $b $b $b $b)
        (func $start (table.set 1 (i32.const 1) (ref.func $c))) (start $start)",
];

/// What all calls give: results, or the traps they end in.
fn outcomes(wat: &str) -> Vec<String> {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap_or_else(|e| panic!("{wat}: {e:?}"));
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "one", |x: i32| x + 100).unwrap();
    let global = Global::new(
        &mut store,
        GlobalType::new(ValType::I32, Mutability::Const),
        Val::I32(2),
    )
    .unwrap();
    linker.define(&store, "host", "g", global).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let mut outcomes = Vec::new();
    for name in [
        "none", "one", "same", "two", "tail", "third", "first", "get", "size",
    ] {
        let func = instance
            .get_typed_func::<i32, i32>(&mut store, name)
            .unwrap();
        for index in [
            0,
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            99_999,
            100_000,
            i32::MAX,
            i32::MIN,
            -1,
        ] {
            let outcome = match func.call(&mut store, index) {
                Ok(result) => result.to_string(),
                Err(error) => error.downcast_ref::<Trap>().unwrap().to_string(),
            };
            outcomes.push(format!("{name} {index}: {outcome}"));
        }
    }
    outcomes
}

#[test]
fn calls_are_the_same_whether_the_compiler_knows_the_table_or_not() {
    for table in TABLES {
        let fixed = format!("(module {FUNCTIONS} {table})");
        let exported = format!("(module {FUNCTIONS} {table} (export \"t\" (table 0)))");
        assert_eq!(outcomes(&fixed), outcomes(&exported), "{table}");
    }
}

#[test]
fn types_are_compared_as_the_specification_says() {
    let functions = r#"
        (type $plain (func (result i32)))
        (type $also_plain (func (result i32)))
        (rec (type $grouped (func (result i32))) (type $other (func)))
        (rec (type $grouped2 (func (result i32))) (type $other2 (func)))
        (type $open (sub (func (result i32))))
        (type $below (sub final $open (func (result i32))))
        (type $names (func (param (ref null $plain)) (result i32)))
        (type $names2 (func (param (ref null $also_plain)) (result i32)))
        (table 9 funcref)
        (elem (i32.const 0) func $0 $1 $2 $3 $4 $5 $6 $7)
        (func $0 (type $plain) (i32.const 0))
        (func $1 (type $also_plain) (i32.const 1))
        (func $2 (type $grouped) (i32.const 2))
        (func $3 (type $grouped2) (i32.const 3))
        (func $4 (type $open) (i32.const 4))
        (func $5 (type $below) (i32.const 5))
        (func $6 (type $names) (i32.const 6))
        (func $7 (type $names2) (i32.const 7))"#;
    let types = [
        ("plain", ""),
        ("also_plain", ""),
        ("grouped", ""),
        ("grouped2", ""),
        ("open", ""),
        ("below", ""),
        ("names", "(ref.null $plain)"),
        ("names2", "(ref.null $also_plain)"),
    ];
    let calls: String = types
        .iter()
        .map(|(name, argument)| {
            format!(
                r#"(func (export "{name}") (param i32) (result i32)
                    (call_indirect (type ${name}) {argument} (local.get 0)))"#
            )
        })
        .collect();
    let called_by = |wat: &str| -> Vec<Vec<i32>> {
        let engine = Engine::default();
        let module = Module::new(&engine, wat).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        types
            .iter()
            .map(|(name, _)| {
                let func = instance
                    .get_typed_func::<i32, i32>(&mut store, name)
                    .unwrap();
                (0..9)
                    .filter(|index| func.call(&mut store, *index).ok() == Some(*index))
                    .collect()
            })
            .collect()
    };
    let expected: [&[i32]; 8] = [
        &[0, 1],
        &[0, 1],
        &[2, 3],
        &[2, 3],
        &[4, 5],
        &[5],
        &[6, 7],
        &[6, 7],
    ];
    assert_eq!(
        called_by(&format!("(module {functions} {calls})")),
        expected
    );
    let exported = format!("(module {functions} {calls} (export \"t\" (table 0)))");
    assert_eq!(called_by(&exported), expected);
}
