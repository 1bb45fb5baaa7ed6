//! Functions made to exhaust the compiler: they compile or are refused, in reasonable time, and nothing overflows.

use cowling_abi::knobs::Knobs;
use cowling_compiler::{CompileError, Compiler};

fn compile(module: &str) -> Result<Vec<u8>, CompileError> {
    let wasm = wat::parse_str(module).expect("the module is well-formed");
    let compiler = Compiler::new(&Knobs::default()).expect("this machine is supported");
    compiler.compile(&wasm, &|_, _| {})
}

fn is_too_large(result: Result<Vec<u8>, CompileError>) -> bool {
    matches!(result, Err(CompileError::TooLarge { .. }))
}

#[test]
fn deeply_nested_blocks_compile() {
    for block in ["block", "loop", "i32.const 1 if"] {
        let depth = 20_000;
        let open = format!("{block}\n").repeat(depth);
        let close = "end\n".repeat(depth);
        let module = format!("(module (func {open} {close}))");
        let result = compile(&module);
        assert!(result.is_ok(), "{block}: {:?}", result.err());
    }
}

#[test]
fn a_branch_table_of_the_largest_size_compiles() {
    let targets = "0 1 ".repeat(32_000);
    let module = format!(
        "(module (func (param i32) (result i32)
            block block local.get 0 br_table {targets} 0 end i32.const 1 return end i32.const 2))"
    );
    let result = compile(&module);
    assert!(result.is_ok(), "{:?}", result.err());
}

#[test]
fn branches_that_carry_too_many_values_are_refused() {
    let results = "i32 ".repeat(1000);
    let values = "i32.const 1 ".repeat(1000);
    let branches = "i32.const 0 br_if 0 ".repeat(20_000);
    let module = format!("(module (func (result {results}) {values} {branches}))");
    assert!(is_too_large(compile(&module)));
}

#[test]
fn calls_that_give_too_many_values_are_refused() {
    let results = "i32 ".repeat(1000);
    let calls = "call 0 ".repeat(20_000);
    let module =
        format!("(module (import \"\" \"\" (func (result {results}))) (func {calls} unreachable))");
    assert!(is_too_large(compile(&module)));
}

#[test]
fn calls_under_too_many_handlers_are_refused() {
    let depth = 1000;
    let open = "try_table (catch 0 0)\n".repeat(depth);
    let calls = "call 0 ".repeat(2000);
    let close = "end\n".repeat(depth);
    let module = format!("(module (tag) (func block {open} {calls} {close} end))");
    assert!(is_too_large(compile(&module)));
}
