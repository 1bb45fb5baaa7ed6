//! What inlining costs the compiler, and that it is bounded.

use cowling_abi::DefinedFuncIndex;
use cowling_abi::knobs::Knobs;
use cowling_compiler::Compiler;

/// How many calls of functions of the module are left in the one of this number.
fn calls_left(functions: &str, function: u32) -> usize {
    let wasm = wat::parse_str(format!("(module {functions})")).expect("the module is well-formed");
    let compiler = Compiler::new(&Knobs::default()).expect("this machine is supported");
    let clif = compiler
        .clif(&wasm, DefinedFuncIndex::from_u32(function))
        .expect("it compiles");
    clif.lines().filter(|line| line.contains("call fn")).count()
}

#[test]
fn what_arguments_are_made_of_is_looked_at_in_proportion() {
    // Each argument of each call is a result of the one before: ways back through three are a billion, for every call that is inlined.
    let (values, calls) = (1000, 100);
    let types = "i32 ".repeat(values);
    let gets: String = (0..values).map(|n| format!("local.get {n} ")).collect();
    let constants = "i32.const 1 ".repeat(values);
    let functions = format!(
        "(func $pass (param {types}) (result {types}) (loop (br_if 0 (i32.const 0))) {gets})
        (func $tiny (param i32))
        (func {constants} {} unreachable)",
        "call $pass call $tiny i32.const 1 ".repeat(calls)
    );
    assert_eq!(calls_left(&functions, 2), calls);
}

#[test]
fn long_sums_as_arguments_are_looked_at_in_proportion() {
    // Together they are more than is looked at for one call; bodies are inlined all the same.
    let (types, gets) = ("i32 ".repeat(30), "(local.get 0)".repeat(30));
    let sums = "(local.set 0 (i32.add (local.get 0) (local.get 0)))".repeat(10);
    let functions = format!(
        "(func $tiny (param {types}))
        (func (param i32) {})",
        format!("{sums} (call $tiny {gets})").repeat(40)
    );
    assert_eq!(calls_left(&functions, 1), 0);
}

#[test]
fn locals_of_inlined_bodies_are_counted() {
    let calls = 1000;
    let caller = |arguments: usize| {
        let arguments = "(i32.const 1)".repeat(arguments);
        let call = format!("(call 0 {arguments})");
        format!("(func {})", call.repeat(calls))
    };
    let with_locals = |locals: usize| {
        let locals = "i32 ".repeat(locals);
        calls_left(&format!("(func (local {locals})) {}", caller(0)), 1)
    };
    assert!(with_locals(1) < with_locals(30));
    assert!(with_locals(30) > calls * 9 / 10, "{}", with_locals(30));
    assert!(with_locals(30) < calls);
    assert_eq!(with_locals(33), calls);

    // Parameters are values, unless something is assigned to them.
    let with_parameters = |parameters: usize, body: &str| {
        let types = "i32 ".repeat(parameters);
        let callee = format!("(func (param {types}) {body})");
        calls_left(&format!("{callee} {}", caller(parameters)), 1)
    };
    assert_eq!(with_parameters(32, ""), 0);
    assert_eq!(with_parameters(33, ""), calls);
    let assigned: String = (0..32)
        .map(|n| format!("(local.set {n} (i32.const 2))"))
        .collect();
    let left = with_parameters(32, &assigned);
    assert!((1..calls).contains(&left), "{left}");
}
