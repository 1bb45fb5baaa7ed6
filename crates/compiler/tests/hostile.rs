//! Functions made to exhaust the compiler: they compile or are refused, in reasonable time, and nothing overflows.

use cowling_abi::knobs::Knobs;
use cowling_abi::{DefinedFuncIndex, FuncIndex};
use cowling_compiler::{CompileError, Compiler, FunctionLabel};

fn compile(module: &str) -> Result<Vec<u8>, CompileError> {
    let wasm = wat::parse_str(module).expect("the module is well-formed");
    let compiler = Compiler::new(&Knobs::default()).expect("this machine is supported");
    compiler.compile(&wasm, &|_, _| {})
}

/// Is a function refused, in words that have its number and these?
fn is_too_large(result: Result<Vec<u8>, CompileError>, function: u32, what: &str) -> bool {
    let expected = FuncIndex::from_u32(function);
    match result {
        Err(CompileError::FunctionTooLarge {
            function,
            what: found,
        }) => {
            matches!(function, FunctionLabel::Function { index, .. } if index == expected)
                && found.starts_with("more than ")
                && found.ends_with(what)
        }
        _ => false,
    }
}

#[test]
fn deeply_nested_blocks_compile() {
    for (block, depth) in [
        ("block", 20_000),
        ("i32.const 1 if", 20_000),
        ("loop", 1_000),
    ] {
        let open = format!("{block}\n").repeat(depth);
        let close = "end\n".repeat(depth);
        let module = format!("(module (func {open} {close}))");
        let result = compile(&module);
        assert!(result.is_ok(), "{block}: {:?}", result.err());
    }
}

#[test]
fn loops_nested_so_deep_that_time_would_run_away_are_refused() {
    let depth = 20_000;
    let open = "loop\n".repeat(depth);
    let close = "i32.const 0 br_if 0 end\n".repeat(depth);
    let module = format!("(module (func {open} {close}))");
    assert!(is_too_large(
        compile(&module),
        0,
        "1024 loops inside each other"
    ));
}

#[test]
fn locals_that_are_declared_but_not_used_cost_nothing() {
    // 20,000 functions of 50,000 locals each, in 200 KB of binary: a billion locals, if anything were done for each.
    let function = "(func (local ".to_string() + &"v128 ".repeat(50_000) + "))";
    let one = wat::parse_str(format!("(module {function})")).expect("the module is well-formed");
    let body = one
        .windows(6)
        .position(|w| w == [1, 0xd0, 0x86, 0x03, 0x7b, 0x0b])
        .map(|at| one[at..at + 6].to_vec())
        .expect("the body is one run of locals");
    let count = 20_000u32;
    let leb = |mut n: u32| {
        let mut out = Vec::new();
        while n > 127 {
            out.push(n as u8 | 128);
            n >>= 7;
        }
        out.push(n as u8);
        out
    };
    let section =
        |id: u8, content: Vec<u8>| [vec![id], leb(content.len() as u32), content].concat();
    let types = section(1, vec![1, 0x60, 0, 0]);
    let functions = section(3, [leb(count), vec![0; count as usize]].concat());
    let bodies = [leb(body.len() as u32), body]
        .concat()
        .repeat(count as usize);
    let code = section(10, [leb(count), bodies].concat());
    let module = [b"\0asm\x01\0\0\0".to_vec(), types, functions, code].concat();
    let compiler = Compiler::new(&Knobs::default()).expect("this machine is supported");
    assert!(compiler.compile(&module, &|_, _| {}).is_ok());
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
    assert!(is_too_large(compile(&module), 0, " arguments of branches"));
}

#[test]
fn calls_that_give_too_many_values_are_refused() {
    let results = "i32 ".repeat(1000);
    let calls = "call 0 ".repeat(20_000);
    let module = format!(
        "(module (import \"\" \"\" (func (result {results}))) (func $f {calls} unreachable))"
    );
    let error = compile(&module);
    assert!(is_too_large(error.clone(), 1, " values"));
    // 65,536, and 16 for each byte of the body.
    let message = "function 1 (`f`) is too large: more than 705584 values";
    assert_eq!(error.unwrap_err().to_string(), message);
}

#[test]
fn a_branch_table_that_takes_too_many_values_along_is_refused() {
    let results = "i32 ".repeat(1000);
    let values = "i32.const 1 ".repeat(1000);
    let open = format!("block (result {results})\n").repeat(4000);
    let targets: String = (0..4000).map(|depth| format!("{depth} ")).collect();
    let close = "end\n".repeat(4000);
    let module = format!(
        "(module (func (result {results}) {open} {values} i32.const 0 br_table {targets} {close}))"
    );
    assert!(is_too_large(compile(&module), 0, " values"));
}

#[test]
fn handlers_that_get_too_many_values_are_refused() {
    let params = "i32 ".repeat(1000);
    let clauses = "(catch 0 0) ".repeat(5000);
    let drops = "drop ".repeat(1000);
    let module = format!(
        "(module (tag (param {params})) (import \"\" \"\" (func))
            (func block (result {params}) try_table {clauses} call 0 end unreachable end {drops}))"
    );
    assert!(is_too_large(compile(&module), 1, " values"));
}

#[test]
fn too_many_values_alive_where_blocks_begin_are_refused() {
    let values = "local.get 0 ".repeat(20_000);
    let blocks = "local.get 0 if end ".repeat(20_000);
    let drops = "drop ".repeat(20_000);
    let module = format!("(module (func (param i32) {values} {blocks} {drops}))");
    assert!(is_too_large(
        compile(&module),
        0,
        " operands where its blocks begin"
    ));
}

#[test]
fn functions_that_are_too_large_together_are_refused_whichever_is_compiled_first() {
    // Each function has a thousand values, its parameters, in two bytes of body.
    let functions = |last: &str| {
        let params = "i32 ".repeat(1000);
        let functions = "(func (type 0))".repeat(10_000);
        format!("(module (type (func (param {params}))) {functions} (func {last}))")
    };
    for _ in 0..2 {
        let error = compile(&functions("")).unwrap_err();
        let message = "module is too large: its functions need more than 2257168 values or instructions in all";
        assert_eq!(error.to_string(), message);
        // What is wrong with a function is said in any case.
        let invalid = compile(&functions("i32.const 1"));
        assert!(matches!(invalid, Err(CompileError::Invalid { .. })));
    }
}

/// How often text occurs in the intermediate code of a module's function.
fn count_in_clif(module: &str, text: &str) -> usize {
    let wasm = wat::parse_str(module).expect("the module is well-formed");
    let compiler = Compiler::new(&Knobs::default()).expect("this machine is supported");
    let clif = compiler.clif(&wasm, DefinedFuncIndex::from_u32(0));
    clif.expect("the function is valid").matches(text).count()
}

/// A function that sets so many locals, has so many blocks, and adds up the locals, one of them in each block, too.
fn locals_and_blocks(locals: usize, blocks: usize) -> String {
    let types = "i32 ".repeat(locals);
    let sets: String = (1..=locals)
        .map(|local| format!("local.get 0 i32.const {local} i32.add local.set {local} "))
        .collect();
    let ifs = "local.get 0 if local.get 1 i32.const 1 i32.add local.set 1 end ".repeat(blocks);
    let sums: String = (1..=locals)
        .map(|local| format!("local.get {local} i32.add "))
        .collect();
    format!(
        "(module (func (param i32) (result i32) (local {types}) {sets} {ifs} local.get 0 {sums}))"
    )
}

#[test]
fn locals_are_kept_in_the_frame_where_there_are_too_many_for_the_blocks() {
    for (locals, blocks, in_frame) in [(2000, 100, false), (50, 8000, false), (4000, 4000, true)] {
        let module = locals_and_blocks(locals, blocks);
        let slots = count_in_clif(&module, "explicit_slot");
        assert_eq!(slots, usize::from(in_frame), "{locals} {blocks}");
        let result = compile(&module);
        assert!(result.is_ok(), "{locals} {blocks}: {:?}", result.err());
    }
}

#[test]
fn locals_are_kept_in_the_frame_if_the_function_is_too_large_otherwise() {
    // Each block is where paths meet, so that a parameter is thought of for each local; and it takes five bytes.
    let module = locals_and_blocks(1500, 1500);
    assert_eq!(count_in_clif(&module, "explicit_slot"), 1);
    assert!(compile(&module).is_ok());
}

#[test]
fn calls_under_too_many_handlers_are_refused() {
    let depth = 1000;
    let open = "try_table (catch 0 0)\n".repeat(depth);
    let calls = "call 0 ".repeat(2000);
    let close = "end\n".repeat(depth);
    let module = format!("(module (tag) (func block {open} {calls} {close} end))");
    assert!(is_too_large(
        compile(&module),
        0,
        " exception handlers at its calls"
    ));
}

#[test]
fn sums_products_and_carries_without_end_compile() {
    let high = |v: &str| format!("local.get {v} i64.const 32 i64.shr_u ");
    let low = |v: &str| format!("local.get {v} i64.const 0xffffffff i64.and ");
    let hh = high("0") + &high("1") + "i64.mul ";
    let ll = low("0") + &low("1") + "i64.mul i64.const 32 i64.shr_u ";
    let t = low("0") + &high("1") + "i64.mul " + &ll + "i64.add i64.const 32 i64.shr_u ";
    // Nearly the high half of a product, again and again, in one sum.
    let nearly = hh.clone() + &t + &t + &hh + "i64.add i64.add i64.add i64.add ";
    // A sum that goes on, with a comparison for each step.
    let carry = "local.get 0 local.get 1 i64.add local.tee 0 local.get 1 i64.lt_u i64.extend_i32_u i64.add ";
    // An index that is a sum of what has bounds, and each sum part of the next one.
    let index =
        "local.get 2 local.get 2 i32.const 7 i32.and i32.add local.tee 2 local.get 0 i64.store ";
    for (step, times) in [(nearly.as_str(), 2000), (carry, 50_000), (index, 50_000)] {
        let steps = step.repeat(times);
        let module = format!(
            "(module (memory 1) (func (param i64 i64 i32) (result i64) local.get 0 {steps}))"
        );
        let result = compile(&module);
        assert!(result.is_ok(), "{step}: {:?}", result.err());
    }
}
