//! Many guests, killed, preempted and resumed at random on several threads, and nothing left behind.
//!
//! Takes 3 seconds, or as many as the environment variable `COWLING_STRESS_SECONDS` says.

use crate::engine::*;
use crate::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const TEXT: &str = r#"(module
    (import "" "host" (func $host (param i64) (result i64)))
    (memory 1 8)
    (tag $e)
    (func (export "count") (param i64) (result i64) (local $i i64)
        (loop (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (local.get 0))))
        (local.get $i))
    (func $fib (export "fib") (param i64) (result i64)
        (if (result i64) (i64.lt_u (local.get 0) (i64.const 2)) (then (local.get 0))
            (else (i64.add (call $fib (i64.sub (local.get 0) (i64.const 1)))
                           (call $fib (i64.sub (local.get 0) (i64.const 2)))))))
    (func (export "host") (param i64) (result i64) (local $i i64)
        (loop (br_if 0 (i64.lt_u (local.tee $i (call $host (local.get $i))) (local.get 0))))
        (local.get $i))
    (func (export "fill") (param i64) (result i64) (local $i i64)
        (loop
            (memory.fill (i32.const 0) (i32.wrap_i64 (local.get $i)) (i32.const 60000))
            (drop (memory.grow (i32.const 1)))
            (block $caught (try_table (catch_all $caught) (throw $e)))
            (br_if 0 (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (local.get 0))))
        (local.get $i))
    (func (export "spin") (param i64) (result i64) (loop (br 0)) (unreachable)))"#;

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct Runner {
    store: Store<()>,
    functions: [(FuncHandle, i64, i64); 5],
}

impl Runner {
    fn new(module: &Arc<CompiledModule>) -> Runner {
        let mut store = store(());
        let host = host(|mut caller: HostCaller<'_, ()>, n: i64| {
            if n % 64 == 5 {
                caller.store.yield_now(None, None)?;
            }
            Ok(n + 1)
        });
        let instance = store.as_mut().instantiate(module, &[host]).unwrap();
        let mut f = |name| func(&mut store, instance, name);
        let functions = [
            (f("count"), 3_000_000, 3_000_000),
            (f("fib"), 22, 17_711),
            (f("host"), 2_000, 2_000),
            (f("fill"), 100, 100),
            (f("spin"), 0, -1),
        ];
        Runner { store, functions }
    }

    /// The computation has got so far: `true` if it is over.
    fn check(&mut self, progress: Result<Progress>, expected: i64) -> bool {
        match progress {
            Ok(Progress::Suspended(_)) => false,
            Ok(Progress::Returned) => {
                let mut results = [Value::I64(0)];
                self.store.as_mut().take_results(&mut results).unwrap();
                assert!(
                    matches!(results, [Value::I64(result)] if result == expected),
                    "{results:?}"
                );
                true
            }
            Err(error) => {
                let why = terminated::<()>(Err(error));
                assert!(matches!(why, Terminated::Remote | Terminated::Deadline));
                true
            }
        }
    }
}

#[derive(Default)]
struct Tally {
    runs: AtomicU64,
    suspended: AtomicU64,
    kills: AtomicU64,
    preemptions: AtomicU64,
}

fn round(module: &Arc<CompiledModule>, duration: Duration, tally: &Tally) {
    const RUNNERS: usize = 16;
    let idle: Mutex<Vec<(Runner, Option<i64>)>> = Mutex::new(Vec::new());
    let mut controls = Vec::new();
    for _ in 0..RUNNERS {
        let runner = Runner::new(module);
        controls.push(runner.store.as_ref().inner().control());
        idle.lock().unwrap().push((runner, None));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (idle, done, module) = (&idle, &done, module);
            scope.spawn(move || {
                let mut random = Random(0x9e37_79b9 + seed);
                while !done.load(SeqCst) {
                    let Some((mut runner, suspended)) = idle.lock().unwrap().pop() else {
                        std::thread::yield_now();
                        continue;
                    };
                    let expected = match suspended {
                        Some(_) if random.below(50) == 0 => {
                            runner.store.as_mut().cancel();
                            idle.lock().unwrap().push((runner, None));
                            continue;
                        }
                        Some(expected) => expected,
                        None => {
                            if random.below(4) == 0 {
                                let at =
                                    Instant::now() + Duration::from_micros(random.below(2_000));
                                runner.store.as_mut().set_deadline(Some(at)).unwrap();
                            } else {
                                runner.store.as_mut().set_deadline(None).unwrap();
                            }
                            let quantum =
                                (random.below(2) == 0).then_some(Duration::from_micros(200));
                            runner.store.as_mut().set_quantum(quantum).unwrap();
                            0
                        }
                    };
                    let (progress, expected) = match suspended {
                        Some(_) => (runner.store.as_mut().resume(None), expected),
                        None => {
                            tally.runs.fetch_add(1, SeqCst);
                            let which = random.below(5) as usize;
                            let (function, argument, expected) = runner.functions[which];
                            let argument = [Value::I64(argument)];
                            if which == 4 {
                                let at = Instant::now() + Duration::from_micros(500);
                                runner.store.as_mut().set_deadline(Some(at)).unwrap();
                            }
                            (runner.store.as_mut().start(function, &argument), expected)
                        }
                    };
                    let over = runner.check(progress, expected);
                    if !over {
                        tally.suspended.fetch_add(1, SeqCst);
                    }
                    // Now and then a store goes, suspended or not, and another takes its place.
                    let next = match random.below(200) {
                        0 => (Runner::new(module), None),
                        _ => (runner, (!over).then_some(expected)),
                    };
                    idle.lock().unwrap().insert(0, next);
                }
            });
        }
        let done = &done;
        for seed in 0..2 {
            let controls = &controls;
            scope.spawn(move || {
                let mut random = Random(0xdead_beef + seed);
                while !done.load(SeqCst) {
                    let control = &controls[random.below(RUNNERS as u64) as usize];
                    if random.below(3) == 0 {
                        if control.kill_switch().terminate().is_ok() {
                            tally.kills.fetch_add(1, SeqCst);
                        }
                    } else if control.preempt().is_ok() {
                        tally.preemptions.fetch_add(1, SeqCst);
                    }
                    std::thread::sleep(Duration::from_micros(random.below(300)));
                }
            });
        }
        std::thread::sleep(duration);
        done.store(true, SeqCst);
        // Those that spin for ever have nobody else to stop them now.
        for _ in 0..1_000 {
            for control in &controls {
                let _ = control.kill_switch().terminate();
            }
            std::thread::sleep(Duration::from_micros(100));
            if idle.lock().unwrap().len() == RUNNERS {
                break;
            }
        }
    });
}

#[test]
fn many_guests_killed_preempted_and_resumed_leave_nothing_behind() {
    let seconds = std::env::var("COWLING_STRESS_SECONDS");
    let seconds = seconds.map_or(3.0, |seconds| seconds.parse::<f64>().unwrap());
    let module = compile(TEXT);
    let tally = Tally::default();
    let lines = |path: &str| std::fs::read_to_string(path).unwrap().lines().count();
    let resources = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
        (lines("/proc/self/maps"), files)
    };
    round(&module, Duration::from_millis(300), &tally);
    let before = resources();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        round(&module, Duration::from_millis(700), &tally);
    }
    let after = resources();
    println!(
        "{:?} runs, {:?} suspensions, {:?} kills, {:?} preemptions; mappings and files {before:?} -> {after:?}",
        tally.runs, tally.suspended, tally.kills, tally.preemptions
    );
    assert!(tally.kills.into_inner() > 20 && tally.preemptions.into_inner() > 20);
    // Other tests run beside this one and have some of their own.
    assert!(
        after.0 <= before.0 + 300 && after.1 <= before.1 + 30,
        "before {before:?}, after {after:?}"
    );
}
