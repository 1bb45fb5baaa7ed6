//! Backtraces: files and lines from debug information, and how many frames there are.

use crate::support::*;
use cowling::*;
use std::num::NonZeroUsize;

/// A program with debug information: `guests/ledger.c`.
const LEDGER: &[u8] = include_bytes!("../../../../guests/ledger.wasm");
const SOURCE: &str = include_str!("../../../../guests/ledger.c");

fn engine(details: WasmBacktraceDetails) -> Engine {
    let mut config = Config::new();
    config.wasm_backtrace_details(details);
    Engine::new(&config).unwrap()
}

/// Runs the program to its end.
fn broken(module: &Module) -> Error {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    run(&mut store, &instance, "_start").unwrap_err()
}

fn backtrace(error: &Error) -> &WasmBacktrace {
    error.downcast_ref().expect("a backtrace")
}

/// The line, from 1, and the column of this text in the source.
fn position(text: &str) -> (u32, u32) {
    let found = SOURCE
        .lines()
        .zip(1..)
        .find_map(|(line, number)| Some((number, line.find(text)? as u32 + 1)));
    found.unwrap()
}

#[test]
fn frames_have_the_places_in_the_source_with_inlined_functions() {
    let module = Module::new(&engine(WasmBacktraceDetails::Enable), LEDGER).unwrap();
    let error = broken(&module);
    let column_of = |text: &str, within: &str| {
        let (line, column) = position(text);
        (line, column + text.find(within).unwrap() as u32)
    };
    let expected = [
        vec![
            ("balance_of", column_of("return one->balance;", "balance")),
            (
                "add",
                column_of("return sum + balance_of(one);", "balance_of"),
            ),
            ("total", column_of("sum = add(sum, one);", "add")),
        ],
        vec![
            ("broken", {
                // The second of two such lines.
                let (_, column) = column_of("return total(&first);", "total");
                (position("last.next =").0 + 1, column)
            }),
            ("start", column_of("    broken();", "broken")),
        ],
    ];
    let frames = backtrace(&error).frames();
    assert_eq!(frames.len(), expected.len());
    for (frame, expected) in frames.iter().zip(expected) {
        let found: Vec<_> = frame
            .symbols()
            .iter()
            .map(|symbol| {
                assert_eq!(symbol.file(), Some("/guests/ledger.c"));
                let place = (symbol.line().unwrap(), symbol.column().unwrap());
                (symbol.name().unwrap(), place)
            })
            .collect();
        assert_eq!(found, expected);
    }
    let names: Vec<_> = frames.iter().map(FrameInfo::func_name).collect();
    assert_eq!(names, [Some("total"), Some("start")]);

    let (line, column) = column_of("sum = add(sum, one);", "add");
    assert_says(
        &error,
        &[
            "balance_of\n",
            "- add\n",
            "- total\n",
            &format!("at /guests/ledger.c:{line}:{column}\n"),
            "- start\n",
        ],
    );
    assert!(!error.to_string().contains("note:"), "{error}");
}

#[test]
fn places_are_there_after_a_way_through_an_artifact_too() {
    let engine = engine(WasmBacktraceDetails::Enable);
    let artifact = engine.precompile_module(LEDGER).unwrap();
    // SAFETY: it was made one line above.
    let module = unsafe { Module::deserialize(&engine, &artifact) }.unwrap();
    assert_eq!(
        backtrace(&broken(&module)).frames()[0].symbols()[0].line(),
        Some(position("return one->balance;").0)
    );
    let mut disabled = Config::new();
    disabled.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    let disabled = Engine::new(&disabled).unwrap();
    // SAFETY: as above.
    let module = unsafe { Module::deserialize(&disabled, &artifact) }.unwrap();
    assert!(backtrace(&broken(&module)).frames()[0].symbols().is_empty());
}

#[test]
fn debug_information_is_kept_only_if_it_is_wanted() {
    let with = engine(WasmBacktraceDetails::Enable);
    let without = engine(WasmBacktraceDetails::Disable);
    let more = with.precompile_module(LEDGER).unwrap().len();
    let less = without.precompile_module(LEDGER).unwrap().len();
    assert!(more > less, "{more} {less}");
    let module = Module::new(&without, LEDGER).unwrap();
    let error = broken(&module);
    let frames = backtrace(&error).frames();
    assert!(frames.iter().all(|frame| frame.symbols().is_empty()));
    // Nobody is told of a variable that would change nothing.
    assert_says(&error, &["!total", "!start"]);
    assert!(!error.to_string().contains("note:"), "{error}");
}

#[test]
fn a_frame_knows_its_module_and_where_in_its_function_it_is() {
    let wasm = wat::parse_str(
        r#"(module $m
            (func $other (nop))
            (func $f (export "run") (local i32) (nop) (nop) unreachable))"#,
    )
    .unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, &wasm).unwrap();
    let error = {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        run(&mut store, &instance, "run").unwrap_err()
    };
    let frame = &backtrace(&error).frames()[0];
    assert_eq!(frame.func_index(), 1);
    assert_eq!(frame.module().name(), Some("m"));
    assert!(Engine::same(frame.module().engine(), &engine));
    assert_eq!(
        frame.module().serialize().unwrap(),
        module.serialize().unwrap()
    );
    // One group of locals takes three bytes, then come two operators.
    assert_eq!(frame.func_offset(), Some(5));
    let unreachable = wasm
        .windows(4)
        .position(|w| w == [0x01, 0x01, 0x00, 0x0b])
        .unwrap()
        + 2;
    assert_eq!(frame.module_offset(), Some(unreachable));
    assert!(frame.symbols().is_empty());
}

const DEEP: &str = r#"(module (import "" "ask" (func $ask))
    (func $deep (export "deep") (param i32)
        (if (local.get 0)
            (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
            (else (call $ask) unreachable))
        (nop)))"#;

#[test]
fn backtraces_have_as_many_frames_as_the_engine_allows() {
    for (limit, trapped, captured) in [
        (NonZeroUsize::new(1), Some(1), 1),
        (NonZeroUsize::new(7), Some(7), 7),
        (NonZeroUsize::new(50), Some(50), 50),
        (NonZeroUsize::new(1000), Some(64), 101),
        (None, None, 0),
    ] {
        let mut config = Config::new();
        // One frame of the machine each: what is noted of a guest that was stopped is in these.
        config
            .wasm_backtrace_max_frames(limit)
            .compiler_inlining(Inlining::No);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, DEEP).unwrap();
        let mut store = Store::new(&engine, (0, 0));
        let ask = Func::wrap(&mut store, |mut caller: Caller<'_, (usize, usize)>| {
            let captured = WasmBacktrace::capture(&caller).frames().len();
            let forced = WasmBacktrace::force_capture(&caller).frames().len();
            *caller.data_mut() = (captured, forced);
        });
        let instance = Instance::new(&mut store, &module, &[ask.into()]).unwrap();
        let deep = instance
            .get_typed_func::<i32, ()>(&mut store, "deep")
            .unwrap();
        let error = deep.call(&mut store, 100).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
        let frames = error
            .downcast_ref::<WasmBacktrace>()
            .map(|b| b.frames().len());
        assert_eq!(frames, trapped, "{limit:?}");
        assert_eq!(*store.data(), (captured, 101), "{limit:?}");
    }
}

#[test]
fn nothing_is_captured_where_no_guest_is_active() {
    let store = Store::<()>::default();
    assert!(WasmBacktrace::capture(&store).frames().is_empty());
    assert!(WasmBacktrace::force_capture(&store).frames().is_empty());
}

#[test]
fn a_backtrace_says_that_the_guest_stopped_only_if_it_has() {
    let (mut store, instance) = linked::<String>(
        r#"(module $m (import "host" "ask" (func $ask)) (func $run (export "run") (call $ask) unreachable))"#,
        |linker| {
            let ask = |mut caller: Caller<'_, String>| {
                *caller.data_mut() = WasmBacktrace::capture(&caller).to_string();
            };
            linker.func_wrap("host", "ask", ask).unwrap();
        },
    )
    .unwrap();
    let error = run(&mut store, &instance, "run").unwrap_err();
    let stopped = error.downcast_ref::<WasmBacktrace>().unwrap().to_string();
    let headline = "wasm backtrace, innermost function first:\n";
    for (text, start) in [(&stopped, "guest stopped; "), (store.data(), "")] {
        let frames = text.strip_prefix(start).unwrap().strip_prefix(headline);
        assert!(frames.unwrap().contains("m!run"), "{text}");
    }
    let nowhere = WasmBacktrace::capture(Store::<()>::default()).to_string();
    assert_eq!(nowhere, "wasm backtrace: no guest function is active");
}

#[test]
fn backtraces_are_switched_off_and_on_by_the_old_setting_too() {
    let number = NonZeroUsize::new(3);
    #[expect(deprecated, reason = "it is what the test is about")]
    for (start, enable, expected) in [
        (number, true, number),
        (number, false, None),
        (None, false, None),
        (None, true, Config::new().knobs().wasm_backtrace_max_frames),
    ] {
        let mut config = Config::new();
        config.wasm_backtrace_max_frames(start);
        config.wasm_backtrace(enable);
        assert_eq!(config.knobs().wasm_backtrace_max_frames, expected);
    }
}
