//! Traps: which, and where.

use crate::support::{assert_says, instance, linked, run, trap};
use cowling::*;

#[test]
fn each_trap_is_the_one_the_specification_names() {
    let cases = [
        ("unreachable", Trap::UnreachableCodeReached),
        (
            "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.rem_s (i32.const 1) (i32.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.rem_u (i32.const 1) (i32.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i64.div_s (i64.const 1) (i64.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i64.rem_u (i64.const 1) (i64.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            Trap::BadConversionToInteger,
        ),
        (
            "(drop (i64.trunc_f64_u (f64.const nan)))",
            Trap::BadConversionToInteger,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const 1e20)))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f64_u (f64.const -1)))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.load (i32.const 65533)))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(i64.store (i32.const -1) (i64.const 0))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 5))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(memory.fill (i32.const 65536) (i32.const 0) (i32.const 1))",
            Trap::MemoryOutOfBounds,
        ),
        ("(drop (table.get (i32.const 2)))", Trap::TableOutOfBounds),
        (
            "(table.init $e (i32.const 0) (i32.const 0) (i32.const 2))",
            Trap::TableOutOfBounds,
        ),
        (
            "(elem.drop $e) (table.init $e (i32.const 0) (i32.const 0) (i32.const 1))",
            Trap::TableOutOfBounds,
        ),
        ("(call_indirect (i32.const 2))", Trap::TableOutOfBounds),
        ("(call_indirect (i32.const 0))", Trap::IndirectCallToNull),
        (
            "(call_indirect (param i32) (i32.const 0) (i32.const 1))",
            Trap::BadSignature,
        ),
    ];
    for (body, expected) in cases {
        let wat = format!(
            r#"(module (memory 1) (data $d "data") (table 2 funcref) (elem (i32.const 1) func $f) (elem $e func $f)
                (func $f) (func (export "fine")) (func (export "run") {body}))"#
        );
        let (mut store, instance) = instance(&wat);
        for _ in 0..3 {
            let error = run(&mut store, &instance, "run").unwrap_err();
            assert_eq!(trap(&error), expected, "{body}");
            assert_says(&error, &["wasm trap", expected.message()]);
            run(&mut store, &instance, "fine").unwrap();
        }
    }
}

fn names(error: &Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let name = |frame: &FrameInfo| match frame.func_name() {
        Some(name) => format!("{}!{name}", frame.module_name().unwrap_or("-")),
        None => format!(
            "{}!{}",
            frame.module_name().unwrap_or("-"),
            frame.func_index()
        ),
    };
    backtrace.frames().iter().map(name).collect()
}

#[test]
fn a_backtrace_names_the_functions_from_the_trap_outwards() {
    let (mut store, instance) = instance(
        r#"(module $mod
            (func $inner (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
            (func (param i32) (call $inner (local.get 0)))
            (func $_ZN3app4main17h0123456789abcdefE (param i32) (call 1 (local.get 0)))
            (table 1 funcref) (elem (i32.const 0) func $_ZN3app4main17h0123456789abcdefE)
            (func $outer (export "run") (call_indirect (param i32) (i32.const 0) (i32.const 0))))"#,
    );
    let error = run(&mut store, &instance, "run").unwrap_err();
    assert_eq!(
        names(&error),
        [
            "mod!inner",
            "mod!1",
            "mod!_ZN3app4main17h0123456789abcdefE",
            "mod!outer"
        ]
    );
    assert_says(
        &error,
        &[
            "mod!inner",
            "mod!<function 1>",
            "mod!app::main\n",
            "mod!outer",
        ],
    );
}

#[test]
fn a_backtrace_that_leaves_functions_out_says_where() {
    // With a loop, it is not inlined into itself.
    let (mut store, instance) = linked::<()>(
        r#"(module $mod (import "host" "again" (func $again (param i32)))
            (func $deep (export "deep") (param i32)
                (loop)
                (if (i32.eqz (local.get 0)) (then unreachable))
                (call $deep (i32.sub (local.get 0) (i32.const 1))) (nop))
            (func $outer (export "through host") (param i32) (call $again (local.get 0)) (nop)))"#,
        |linker| {
            let again = |mut caller: Caller<'_, ()>, n: i32| -> Result<()> {
                let deep = caller
                    .get_export("deep")
                    .and_then(Extern::into_func)
                    .unwrap();
                deep.typed::<i32, ()>(&caller)?.call(&mut caller, n)
            };
            linker.func_wrap("host", "again", again).unwrap();
        },
    )
    .unwrap();
    // How deep the guest calls itself, the frames there are, and after how many others are missing.
    for (name, depth, frames, cut_after) in [
        ("deep", 62, 63, None),
        ("deep", 63, 64, None),
        ("deep", 64, 64, Some(64)),
        ("deep", 1000, 64, Some(64)),
        ("deep", i32::MAX, 64, Some(64)),
        ("through host", 63, 65, None),
        ("through host", 64, 65, Some(64)),
    ] {
        let func = instance
            .get_typed_func::<i32, ()>(&mut store, name)
            .unwrap();
        let error = func.call(&mut store, depth).unwrap_err();
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert_eq!(backtrace.frames().len(), frames, "{name} {depth}");
        assert_eq!(backtrace.cut_after(), cut_after, "{name} {depth}");
        let text = backtrace.to_string();
        let last = text.lines().last().unwrap();
        match cut_after {
            None => assert!(!text.contains("not recorded"), "{text}"),
            Some(at) if at == frames => assert!(last.contains("not recorded"), "{text}"),
            Some(_) => assert!(
                text.contains("not recorded\n") && last.contains("outer"),
                "{text}"
            ),
        }
    }
}

#[test]
fn a_backtrace_says_which_operator_of_the_binary_it_was() {
    let wasm = wat::parse_str(
        r#"(module (func $f (nop) (nop) unreachable) (func (export "run") (nop) (call $f) (nop)))"#,
    )
    .unwrap();
    let offset_of = |bytes: &[u8]| wasm.windows(bytes.len()).position(|w| w == bytes).unwrap();
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, &wasm).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let error = run(&mut store, &instance, "run").unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let offsets: Vec<_> = backtrace
        .frames()
        .iter()
        .map(|f| f.module_offset())
        .collect();
    let unreachable = offset_of(&[0x01, 0x01, 0x00, 0x0b]) + 2;
    let call = offset_of(&[0x01, 0x10, 0x00, 0x01]) + 1;
    assert_eq!(offsets, [Some(unreachable), Some(call)]);
}

#[test]
fn a_backtrace_without_address_map_still_names_functions() {
    let mut config = Config::new();
    config.generate_address_map(false);
    let engine = Engine::new(&config).unwrap();
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        r#"(module $m (func $f (export "run") unreachable))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let error = run(&mut store, &instance, "run").unwrap_err();
    assert_eq!(names(&error), ["m!f"]);
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames()[0].module_offset(), None);
}

#[test]
fn a_backtrace_crosses_modules_and_host_functions() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap("host", "back", |mut caller: Caller<'_, ()>| -> Result<()> {
            let boom = caller
                .get_export("boom")
                .and_then(Extern::into_func)
                .unwrap();
            boom.call(&mut caller, &[], &mut [])
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let lib = Module::new(
        &engine,
        r#"(module $lib (import "host" "back" (func $back))
            (func $enter (export "enter") (call $back))
            (func $boom (export "boom") unreachable))"#,
    )
    .unwrap();
    let lib = linker.instantiate(&mut store, &lib).unwrap();
    linker.instance(&mut store, "lib", lib).unwrap();
    let app = Module::new(
        &engine,
        r#"(module $app (import "lib" "enter" (func $enter)) (func $main (export "run") (call $enter)))"#,
    )
    .unwrap();
    let app = linker.instantiate(&mut store, &app).unwrap();
    let error = run(&mut store, &app, "run").unwrap_err();
    assert_eq!(trap(&error), Trap::UnreachableCodeReached);
    assert_eq!(names(&error), ["lib!boom", "lib!enter", "app!main"]);
}

#[test]
fn an_error_of_a_host_function_comes_with_the_frames_that_called_it() {
    let (mut store, instance) = linked::<()>(
        r#"(module $m (import "" "fail" (func $fail)) (func $f (call $fail)) (func $g (export "run") (call $f)))"#,
        |linker| {
            linker
                .func_wrap("", "fail", || -> Result<()> { bail!("this went wrong") })
                .unwrap();
        },
    )
    .unwrap();
    let error = run(&mut store, &instance, "run").unwrap_err();
    assert!(error.downcast_ref::<Trap>().is_none());
    assert_eq!(names(&error), ["m!f", "m!g"]);
    assert_says(&error, &["this went wrong"]);
}

#[test]
fn a_failed_access_says_where_it_was() {
    let (mut store, instance) = instance(
        r#"(module (memory 2) (func (export "run") (drop (i32.load offset=16 (i32.const 0x100000)))))"#,
    );
    let error = run(&mut store, &instance, "run").unwrap_err();
    let fault = error.downcast_ref::<MemoryFault>().unwrap();
    assert_eq!((fault.offset(), fault.size()), (0x10_0010, 2 * 65536));
}

#[test]
fn traps_in_a_start_function_have_a_backtrace() {
    let mut store = Store::<()>::default();
    let module = Module::new(
        store.engine(),
        r#"(module $m (func $s unreachable) (start $s))"#,
    )
    .unwrap();
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_eq!(names(&error), ["m!s"]);
}

#[test]
fn a_host_function_sees_who_called_it() {
    let (mut store, instance) = linked::<Vec<String>>(
        r#"(module $m (import "" "look" (func $look)) (func $f (call $look)) (func $g (export "run") (call $f)))"#,
        |linker| {
            linker
                .func_wrap("", "look", |mut caller: Caller<'_, Vec<String>>| {
                    let backtrace = caller.backtrace();
                    let names = backtrace.frames().iter().map(|f| f.func_name().unwrap().to_string());
                    caller.data_mut().extend(names);
                })
                .unwrap();
        },
    )
    .unwrap();
    run(&mut store, &instance, "run").unwrap();
    assert_eq!(*store.data(), ["f", "g"]);
}
