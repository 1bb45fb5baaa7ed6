//! Functions that were inlined: nobody can tell but from how fast they are.

use cowling::*;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn config(inlining: Inlining) -> Config {
    let mut config = Config::new();
    config.compiler_inlining(inlining);
    config
}

/// Is any code of the function of this number that of functions inlined into it?
fn has_inlined(module: &Module, function: u32) -> bool {
    let mut functions = module.functions();
    let function = functions.find(|f| f.index.as_u32() == function).unwrap();
    let mut offsets = function.offset..function.offset + function.len;
    offsets.any(|offset| module.inlined_at(offset).next().is_some())
}

/// What is known of a frame.
type Place = (u32, Option<usize>, Option<usize>);

fn places(backtrace: &WasmBacktrace) -> Vec<Place> {
    let place = |f: &FrameInfo| (f.func_index(), f.module_offset(), f.func_offset());
    backtrace.frames().iter().map(place).collect()
}

/// What can be told of a run.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    result: std::result::Result<i64, Option<Trap>>,
    /// Where it stopped.
    frames: Vec<Place>,
    /// Where it was when it asked.
    asked: Vec<Vec<Place>>,
    fuel: Option<u64>,
    dump: Vec<Place>,
}

/// Runs the export `run`. The host function `host.ask` notes where the guest is, `host.fail` fails, `host.again` calls the export
/// `inner`.
fn outcome(config: &mut Config, wat: &str) -> (Outcome, Module) {
    let engine = Engine::new(config.coredump_on_trap(true)).unwrap();
    let module = Module::new(&engine, wat).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut linker = Linker::new(&engine);
    let note = asked.clone();
    let ask = move |caller: Caller<'_, ()>| {
        let backtrace = WasmBacktrace::capture(&caller);
        note.lock().unwrap().push(places(&backtrace));
    };
    linker.func_wrap("host", "ask", ask).unwrap();
    let fail = || -> Result<()> { bail!("host says no") };
    linker.func_wrap("host", "fail", fail).unwrap();
    let again = |mut caller: Caller<'_, ()>| -> Result<()> {
        let inner = caller.get_export("inner").and_then(Extern::into_func);
        inner
            .unwrap()
            .typed::<(), ()>(&caller)?
            .call(&mut caller, ())
    };
    linker.func_wrap("host", "again", again).unwrap();
    let mut store = Store::new(&engine, ());
    if engine.get_consume_fuel() {
        store.set_fuel(1_000_000).unwrap();
    }
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), i64>(&mut store, "run")
        .unwrap();
    let result = run.call(&mut store, ());
    let error = result.as_ref().err();
    let dump = error.and_then(|e| e.downcast_ref::<WasmCoreDump>());
    let outcome = Outcome {
        frames: (error.and_then(|e| e.downcast_ref())).map_or(Vec::new(), places),
        dump: dump.map_or(Vec::new(), |dump| {
            let place = |f: &FrameInfo| (f.func_index(), f.module_offset(), f.func_offset());
            dump.frames().iter().map(place).collect()
        }),
        result: result.map_err(|error| error.downcast_ref().copied()),
        fuel: engine.get_consume_fuel().then(|| store.get_fuel().unwrap()),
        asked: Arc::try_unwrap(asked).map_or_else(
            |held| held.lock().unwrap().clone(),
            |own| own.into_inner().unwrap(),
        ),
    };
    (outcome, module)
}

const PROGRAMS: [(&str, &str); 13] = [
    (
        "a trap three bodies deep",
        r#"(func $divide (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1)))
        (func $scale (param i64 i64) (result i64) (i64.mul (i64.const 3) (call $divide (local.get 0) (local.get 1))))
        (func $mean (param i64 i64) (result i64) (nop) (call $scale (i64.add (local.get 0) (local.get 1)) (local.get 1)))
        (func (export "run") (result i64) (local i64)
            (local.set 0 (i64.const 3))
            (loop
                (drop (call $mean (i64.const 100) (local.get 0)))
                (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
                (br 0))
            unreachable)"#,
    ),
    (
        "accesses out of bounds in bodies of one function, called twice",
        r#"(memory 1)
        (func $get (param i32) (result i64) (i64.load (local.get 0)))
        (func (export "run") (result i64) (i64.add (call $get (i32.const 8)) (call $get (i32.const 65529))))"#,
    ),
    (
        "host functions called from bodies ask, call again and fail",
        r#"(func $where (call $ask))
        (func $here (call $where))
        (func $inner (export "inner") (call $here))
        (func $stop (call $fail))
        (func $outer (call $here) (call $again))
        (func (export "run") (result i64) (call $here) (call $outer) (call $stop) (i64.const 0))"#,
    ),
    (
        "what a body throws is caught around its call",
        r#"(tag $e (param i64))
        (func $throws (param i64) (if (i64.gt_s (local.get 0) (i64.const 5)) (then (throw $e (local.get 0)))))
        (func (export "run") (result i64) (local i64)
            (block $caught (result i64)
                (try_table (catch $e $caught)
                    (loop (call $throws (local.tee 0 (i64.add (local.get 0) (i64.const 1)))) (br 0)))
                (i64.const 0))
            (call $ask))"#,
    ),
    (
        "a body catches what is thrown in its calls, and passes other things on",
        r#"(tag $e (param i64)) (tag $other)
        (func $throws (param i64) (result i64)
            (loop (br_if 0 (i32.const 0)))
            (if (i64.eq (local.get 0) (i64.const 4)) (then (throw $other)))
            (call $ask)
            (throw $e (local.get 0)))
        (func $guard (param i64 i64 i64 i64 i64) (result i64)
            (block $caught (result i64) (try_table (result i64) (catch $e $caught) (call $throws (local.get 0)))))
        (func (export "run") (result i64) (local i64 i64)
            (block $end
                (try_table (catch $other $end)
                    (loop
                        (local.set 0 (i64.add (local.get 0) (i64.const 1)))
                        (local.set 1 (i64.add (local.get 1)
                            (call $guard (local.get 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))))
                        (br 0))))
            (local.get 1))"#,
    ),
    (
        "nobody catches",
        r#"(tag $e)
        (func $throws (param i64) (if (i64.eqz (local.get 0)) (then (throw $e))))
        (func (export "run") (result i64)
            (block (try_table (catch_all 0) (loop (call $throws (i64.const 0)))))
            (loop (call $throws (i64.const 0)))
            (i64.const 1))"#,
    ),
    (
        "locals are zero at each entry",
        r#"(func $count (param i64) (result i64) (local i64 f64 v128 i64 funcref externref)
            (if (i32.eqz (ref.is_null (local.get 5))) (then unreachable))
            (local.set 1 (i64.add (local.get 1) (local.get 0)))
            (local.set 4 (i64.add (local.get 4) (i64x2.extract_lane 0 (local.get 3))))
            (local.set 3 (i64x2.splat (local.get 1)))
            (local.set 2 (f64.add (local.get 2) (f64.const 1)))
            (i64.add (i64.add (local.get 4) (local.get 1)) (i64.trunc_f64_s (local.get 2))))
        (func (export "run") (result i64) (local i64 i64)
            (loop
                (local.set 1 (i64.add (local.get 1) (call $count (local.get 0))))
                (br_if 0 (i64.lt_s (local.tee 0 (i64.add (local.get 0) (i64.const 1))) (i64.const 10))))
            (local.get 1))"#,
    ),
    (
        "several results, from several places",
        r#"(func $divide (param i64 i64) (result i64 i64)
            (if (i64.eqz (local.get 1)) (then (return (i64.const -1) (i64.const -2))))
            (block (br_if 1 (i64.const 5) (i64.const 6) (i64.gt_u (local.get 1) (i64.const 9))) (drop) (drop))
            (br 0 (i64.div_u (local.get 0) (local.get 1)) (i64.rem_u (local.get 0) (local.get 1))))
        (func (export "run") (result i64) (local i64 i64 i64)
            (loop
                (call $divide (i64.const 100) (local.get 0))
                (local.set 1 (i64.add (local.get 1)))
                (local.set 2 (i64.sub (i64.mul (local.get 2) (i64.const 3))))
                (br_if 0 (i64.lt_s (local.tee 0 (i64.add (local.get 0) (i64.const 1))) (i64.const 12))))
            (i64.xor (local.get 1) (local.get 2)))"#,
    ),
    (
        "recursion, through others too",
        r#"(func $even (param i64) (result i64)
            (br_if 0 (i64.const 1) (i64.eqz (local.get 0))) (drop) (call $odd (i64.sub (local.get 0) (i64.const 1))))
        (func $odd (param i64) (result i64)
            (br_if 0 (i64.const 0) (i64.eqz (local.get 0))) (drop) (call $even (i64.sub (local.get 0) (i64.const 1))))
        (func $self (param i64) (result i64)
            (br_if 0 (i64.const 7) (i64.eqz (local.get 0))) (drop) (call $self (i64.sub (local.get 0) (i64.const 1))))
        (func $down (param i64) (result i64)
            (br_if 0 (i64.const 7) (i64.eqz (local.get 0))) (drop) (i64.div_u (i64.const 1) (call $down (i64.sub (local.get 0) (i64.const 1)))))
        (func (export "run") (result i64)
            (i64.add (call $even (i64.const 13)) (i64.add (call $odd (i64.const 6)) (call $self (i64.const 4))))
            (i64.add (call $down (i64.const 5))))"#,
    ),
    (
        "a function in itself that throws, catches and traps",
        r#"(tag $e (param i64))
        (func $tree (param i64) (result i64) (local i64)
            (if (i64.le_s (local.get 0) (i64.const 0))
                (then
                    (if (i64.eqz (local.get 0)) (then (throw $e (i64.const 5))))
                    (return (i64.div_s (i64.const 7) (i64.add (local.get 0) (i64.const 2))))))
            (local.set 1 (i64.add (local.get 1) (local.get 0)))
            (i64.add
                (block $caught (result i64)
                    (try_table (result i64) (catch $e $caught) (call $tree (i64.sub (local.get 0) (i64.const 1)))))
                (i64.mul (local.get 1) (call $tree (i64.sub (local.get 0) (i64.const 2))))))
        (func (export "run") (result i64)
            (loop (br_if 0 (i32.const 0)))
            (drop
                (block $caught (result i64)
                    (try_table (result i64) (catch $e $caught) (call $tree (i64.const 6)))))
            (i64.add (call $tree (i64.const 1)) (call $tree (i64.const -2))))"#,
    ),
    (
        "tail calls",
        r#"(func $last (param i64) (result i64) (call $ask) (i64.div_s (i64.const 12) (local.get 0)))
        (func $tail (param i64) (result i64) (return_call $last (local.get 0)))
        (func $wrap (param i64) (result i64) (call $tail (local.get 0)))
        (func (export "run") (result i64) (drop (call $wrap (i64.const 4))) (return_call $wrap (i64.const 0)))"#,
    ),
    (
        "memories and tables that grow in a body",
        r#"(memory $m i64 0 10) (memory $n 1) (table $t 0 funcref)
        (func $more (result i64) (drop (table.grow $t (ref.null func) (i32.const 1))) (memory.grow $m (i64.const 1)))
        (func $put (param i64) (i64.store $m (local.get 0) (i64.const 5)))
        (func (export "run") (result i64)
            (loop
                (call $put (i64.mul (call $more) (i64.const 65536)))
                (br_if 0 (i32.lt_u (table.size $t) (i32.const 9))))
            (i64.add (memory.size $m) (i64.load $m (i64.const 524288))))"#,
    ),
    (
        "objects and references",
        r#"(type $pair (struct (field (mut i64)) (field (ref null $pair))))
        (global $g (mut (ref null $pair)) (ref.null $pair))
        (func $first (param (ref null $pair)) (result i64) (struct.get $pair 0 (local.get 0)))
        (func $next (param (ref null $pair)) (result (ref null $pair)) (struct.get $pair 1 (local.get 0)))
        (func $push (param i64) (global.set $g (struct.new $pair (local.get 0) (global.get $g))))
        (func (export "run") (result i64) (local i64)
            (loop (call $push (local.get 0)) (br_if 0 (i64.lt_s (local.tee 0 (i64.add (local.get 0) (i64.const 1))) (i64.const 4))))
            (loop
                (local.set 0 (i64.add (local.get 0) (call $first (global.get $g))))
                (global.set $g (call $next (global.get $g)))
                (br 0))
            unreachable)"#,
    ),
];

fn program(functions: &str) -> String {
    format!(
        r#"(module (import "host" "ask" (func $ask)) (import "host" "fail" (func $fail)) (import "host" "again" (func $again))
        {functions})"#
    )
}

#[test]
fn results_traps_backtraces_dumps_and_fuel_are_the_same_with_and_without() {
    for (what, functions) in PROGRAMS {
        for fuel in [false, true] {
            let wat = program(functions);
            let (apart, module) = outcome(config(Inlining::No).consume_fuel(fuel), &wat);
            let numbers = 3..3 + module.functions().len() as u32;
            assert!(numbers.clone().all(|f| !has_inlined(&module, f)), "{what}");
            let (inlined, module) = outcome(config(Inlining::Yes).consume_fuel(fuel), &wat);
            assert!(
                numbers.clone().any(|f| has_inlined(&module, f)),
                "{what}: nothing is inlined"
            );
            assert_eq!(inlined, apart, "{what}");
            let stopped = !matches!(inlined.result, Ok(_) | Err(None));
            assert_eq!(inlined.dump.is_empty(), inlined.frames.is_empty(), "{what}");
            assert!(!stopped || inlined.frames.len() > 1, "{what}: {inlined:?}");
        }
    }
}

const NESTED: &str = r#"(module $m
    (func $divide (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1)))
    (func $scale (param i64 i64) (result i64) (i64.mul (i64.const 3) (call $divide (local.get 0) (local.get 1))))
    (func $mean (param i64 i64) (result i64) (call $scale (i64.add (local.get 0) (local.get 1)) (local.get 1)))
    (func $run (export "run") (result i64) (call $mean (i64.const 100) (i64.const 0))))"#;

#[test]
fn frames_of_inlined_functions_are_frames_like_others() {
    let (outcome, module) = outcome(&mut config(Inlining::Yes), NESTED);
    assert!(has_inlined(&module, 3));
    let functions: Vec<_> = outcome.frames.iter().map(|frame| frame.0).collect();
    assert_eq!(functions, [0, 1, 2, 3]);
    let names = |config: &mut Config| {
        let engine = Engine::new(config).unwrap();
        let module = Module::new(&engine, NESTED).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance
            .get_typed_func::<(), i64>(&mut store, "run")
            .unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        let frames = backtrace.frames().iter();
        let name = |f: &FrameInfo| (f.func_name().unwrap().to_string(), f.module_offset());
        let frames: Vec<_> = frames.map(name).collect();
        (frames, backtrace.cut_after())
    };
    let (frames, cut) = names(&mut config(Inlining::Yes));
    assert!(frames.iter().all(|(_, offset)| offset.is_some()) && cut.is_none());
    // Without a map from code to positions names are known all the same.
    let (frames, _) = names(config(Inlining::Yes).generate_address_map(false));
    let expected = ["divide", "scale", "mean", "run"].map(|name| (name.to_string(), None));
    assert_eq!(frames, expected);
    // They count.
    let (frames, cut) =
        names(config(Inlining::Yes).wasm_backtrace_max_frames(NonZeroUsize::new(2)));
    assert_eq!((frames.len(), cut), (2, Some(2)));
    assert_eq!(frames[1].0, "scale");
}

#[test]
fn a_trap_behind_an_inlined_call_is_not_one_of_the_function_called() {
    // The sum is rewritten, so that what adds what is loaded is of no operator.
    let wat = r#"(module
        (memory 1)
        (func $store (param i32 i32) (i32.store (local.get 0) (local.get 1)))
        (func (export "run") (param i32 i32) (result i32)
            (call $store (local.get 0) (local.get 1))
            (i32.sub (i32.load offset=16 (local.get 0)) (i32.sub (i32.const 0) (local.get 1)))))"#;
    let engine = Engine::new(&config(Inlining::Yes)).unwrap();
    let module = Module::new(&engine, wat).unwrap();
    assert!(has_inlined(&module, 1));
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "run")
        .unwrap();
    assert_eq!(run.call(&mut store, (0, 5)).unwrap(), 5);
    for (address, expected) in [(65524, &[1][..]), (65536, &[0, 1])] {
        let error = run.call(&mut store, (address, 5)).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        let functions: Vec<_> = (backtrace.frames().iter())
            .map(FrameInfo::func_index)
            .collect();
        assert_eq!(functions, expected);
    }
}

#[test]
fn stacks_overflow_with_the_functions_that_they_are_full_of() {
    let wat = r#"(module
        (func $step (param i64) (result i64) (call $deep (i64.add (local.get 0) (i64.const 1))))
        (func $deep (param i64) (result i64) (i64.add (call $step (local.get 0)) (i64.const 1)))
        (func (export "run") (result i64) (call $deep (i64.const 0))))"#;
    for inlining in [Inlining::Yes, Inlining::No] {
        let mut config = config(inlining);
        let (outcome, module) = outcome(
            config.wasm_backtrace_max_frames(NonZeroUsize::new(1000)),
            wat,
        );
        assert_eq!(outcome.result, Err(Some(Trap::StackOverflow)));
        assert_eq!(has_inlined(&module, 1), inlining == Inlining::Yes);
        let functions: Vec<_> = outcome.frames.iter().map(|frame| frame.0).collect();
        assert!(functions.len() >= 64, "{functions:?}");
        // A function is called by the other one, always.
        assert!(
            functions.windows(2).all(|pair| pair[0] != pair[1]),
            "{functions:?}"
        );
    }
}

#[test]
fn small_functions_are_inlined_into_themselves_once() {
    let sum = "(if (i64.eqz (local.get 0)) (then (call $ask) (return (i64.const 0))))
        (i64.add (local.get 0) (call $sum (i64.sub (local.get 0) (i64.const 1))))";
    let functions = format!(
        r#"(func $sum (param i64) (result i64) {sum})
        (func (export "run") (result i64) (loop (br_if 0 (i32.const 0))) (call $sum (i64.const 5)))"#
    );
    let (outcome, module) = outcome(&mut config(Inlining::Yes), &program(&functions));
    assert_eq!(outcome.result, Ok(15));
    let mut asked = outcome.asked[0].iter().map(|place| place.0);
    assert!(asked.by_ref().take(6).all(|function| function == 3));
    assert_eq!(asked.collect::<Vec<_>>(), [4]);
    let function = module.functions().find(|f| f.index.as_u32() == 3).unwrap();
    let offsets = function.offset..function.offset + function.len;
    let depths = offsets.map(|offset| module.inlined_at(offset).count());
    assert_eq!(depths.max(), Some(1));
}

#[test]
fn where_an_interrupted_guest_is_found_it_was() {
    // Nearly all the time it is in the body.
    let stores: String = (0..12)
        .map(|n| format!("(i64.store offset={} (i32.const 0) (local.get 0))", n * 8))
        .collect();
    let wat = format!(
        r#"(module (memory 1)
            (func $fill (param i64) {stores})
            (func (export "run") (local i64)
                (loop (call $fill (local.tee 0 (i64.add (local.get 0) (i64.const 1)))) (br 0))))"#
    );
    let engine = Engine::new(&config(Inlining::Yes)).unwrap();
    let module = Module::new(&engine, wat).unwrap();
    assert!(has_inlined(&module, 1));
    let linker = Linker::<()>::new(&engine);
    let mut seen = [0; 2];
    for _ in 0..200 {
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        store.set_epoch_deadline(1);
        let ticking = engine.clone();
        let ticker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(200));
            ticking.increment_epoch();
        });
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        ticker.join().unwrap();
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        match backtrace
            .frames()
            .iter()
            .map(FrameInfo::func_index)
            .collect::<Vec<_>>()[..]
        {
            [0, 1] => seen[0] += 1,
            [1] => seen[1] += 1,
            _ => panic!("{backtrace}"),
        }
        if seen[0] >= 5 {
            return;
        }
    }
    panic!("hardly ever in the body that takes all the time: {seen:?}");
}

#[test]
fn out_of_fuel_in_a_body_is_told_of_the_body() {
    let wat = r#"(module
        (func $deep (param i64) (result i64) (drop (i64.const 1)) (loop (br_if 0 (i32.const 0))) (local.get 0))
        (func $body (param i64) (result i64) (call $deep (i64.add (local.get 0) (i64.const 1))))
        (func (export "run") (result i64) (local i64) (loop (local.set 0 (call $body (local.get 0))) (br 0)) unreachable))"#;
    let mut in_deep = false;
    for fuel in 1000..1020 {
        let [inlined, apart] = [Inlining::Yes, Inlining::No].map(|inlining| {
            let engine = Engine::new(config(inlining).consume_fuel(true)).unwrap();
            let module = Module::new(&engine, wat).unwrap();
            assert_eq!(has_inlined(&module, 2), inlining == Inlining::Yes);
            let mut store = Store::new(&engine, ());
            store.set_fuel(fuel).unwrap();
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let run = instance
                .get_typed_func::<(), i64>(&mut store, "run")
                .unwrap();
            let error = run.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
            places(error.downcast_ref::<WasmBacktrace>().unwrap())
        });
        assert_eq!(inlined, apart);
        let functions: Vec<_> = inlined.iter().map(|place| place.0).collect();
        in_deep |= functions == [0, 1, 2];
    }
    assert!(in_deep);
}

#[test]
fn what_is_inlined_is_in_proportion_whatever_calls_what() {
    let chain: String = (0..40)
        .map(|n| format!("(func $f{n} (param i32) (result i32) (i32.add (call $f{0} (local.get 0)) (call $f{0} (local.get 0))))", n + 1))
        .collect();
    let calls = "(drop (call $leaf (i32.const 1)))".repeat(3_000);
    let leaf = "(i32.store8 (local.get 0) (i32.load8_u offset=1 (local.get 0)))".repeat(10);
    let cases = [
        format!("{chain} (func $f40 (param i32) (result i32) (local.get 0))"),
        format!(
            "(memory 1) (func $leaf (param i32) (result i32) {leaf} (i32.const 1)) (func (loop {calls}))"
        ),
        format!("(func $leaf (param i32) (result i32) (i32.const 1)) (func {calls})"),
        // Each has all the others in its reach.
        (0..500)
            .map(|n| {
                format!(
                    "(func $f{n} (call $f{}) (call $f{}))",
                    (n * 7 + 1) % 500,
                    (n * 11 + 3) % 500
                )
            })
            .collect(),
    ];
    for functions in cases {
        let size = |inlining| {
            let engine = Engine::new(&config(inlining)).unwrap();
            let module = Module::new(&engine, format!("(module {functions})")).unwrap();
            (module.text().len(), module.functions().len())
        };
        let (apart, functions) = size(Inlining::No);
        let (inlined, _) = size(Inlining::Yes);
        // What any function may take in comes on top of what it may in proportion.
        assert!(
            inlined < 3 * apart + 4000 * functions,
            "{inlined} instead of {apart}"
        );
    }
}

#[test]
fn what_would_make_a_function_too_large_is_not_inlined_into_it() {
    // Each call lists the handlers of everything around it, and what a function may list together is limited.
    let (handlers, calls) = (70, 120);
    let begin = "(try_table (catch $e 0) ".repeat(handlers);
    let calls = "(call $two)".repeat(calls);
    let end = ")".repeat(handlers);
    let wat = format!(
        "(module (tag $e) (func $far (loop (br_if 0 (i32.const 0)))) (func $two (call $far) (call $far))
            (func $small (call $two)) (func $large {begin} {calls} {end}))"
    );
    let module = Module::new(&Engine::new(&config(Inlining::Yes)).unwrap(), wat).unwrap();
    assert!(has_inlined(&module, 2));
    assert!(!has_inlined(&module, 3));
}

#[test]
fn an_invalid_function_is_what_is_wrong_whoever_calls_it() {
    let text = |callee: &str| {
        format!(
            r#"(module (func $first (export "run") (result i64) (call $callee (i64.const 1)))
            (func $second (result i32) (i64.const 2))
            (func $callee (param i64) (result i64) {callee}))"#
        )
    };
    for callee in [
        "(i32.const 1)",
        "(local.get 7)",
        "(i64.add (local.get 0))",
        "(call 99)",
    ] {
        let messages = [Inlining::No, Inlining::Yes].map(|inlining| {
            let engine = Engine::new(&config(inlining)).unwrap();
            Module::new(&engine, text(callee)).unwrap_err().to_string()
        });
        assert_eq!(messages[0], messages[1], "{callee}");
    }
}

#[test]
fn artifacts_with_inlined_functions_do_not_depend_on_the_number_of_threads() {
    let wasm = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../guests/json.wasm"
    ))
    .unwrap();
    let artifact = |parallel| {
        let mut config = config(Inlining::Yes);
        let engine = Engine::new(config.parallel_compilation(parallel)).unwrap();
        let module = Module::new(&engine, &wasm).unwrap();
        let mut functions = module.functions();
        assert!(functions.any(|f| has_inlined(&module, f.index.as_u32())));
        module.serialize().unwrap()
    };
    assert!(artifact(true) == artifact(false));
}

#[test]
fn a_program_compiled_one_way_does_not_load_the_other_way() {
    let engines =
        [Inlining::Yes, Inlining::No].map(|inlining| Engine::new(&config(inlining)).unwrap());
    let artifact = Module::new(&engines[0], NESTED)
        .unwrap()
        .serialize()
        .unwrap();
    assert_eq!(engines[0].get_compiler_inlining(), Inlining::Yes);
    assert_eq!(Engine::default().get_compiler_inlining(), Inlining::Yes);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nested.cowling");
    std::fs::write(&path, artifact).unwrap();
    assert!(Module::deserialize_file(&engines[0], &path).is_ok());
    let error = Module::deserialize_file(&engines[1], &path).unwrap_err();
    assert!(
        format!("{error:?}").contains("compiler_inlining"),
        "{error:?}"
    );
}
