//! Functions as no compiler makes them: memory that compiling takes stays in proportion to the binary, whatever is in it.
//!
//! Each case is compiled at a size and at twice that size. Of time no test can speak; but what is allocated in all is counted, too, and what takes
//! more than linear time in the code generator allocates more than linearly.

use cap::Cap;
use cowling_abi::knobs::Knobs;
use cowling_compiler::Compiler;
use std::alloc::System;
use std::env;
use std::fmt::Write as _;
use std::process::Command;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Tells a process of this test which case it is to compile, and at which size.
const VARIABLE: &str = "COWLING_WORST_CASE";

/// Bytes that compiling takes at once and in all, and bytes of the binary.
fn costs(wat: &str) -> [usize; 3] {
    let wasm = wat::parse_str(wat).unwrap();
    let knobs = Knobs {
        parallel_compilation: false,
        ..Knobs::default()
    };
    let compiler = Compiler::new(&knobs).unwrap();
    let (now, all) = (ALLOCATOR.allocated(), ALLOCATOR.total_allocated());
    compiler.compile(&wasm, &|_, _| {}).unwrap();
    [
        ALLOCATOR.max_allocated().saturating_sub(now),
        ALLOCATOR.total_allocated() - all,
        wasm.len(),
    ]
}

/// The same in a process of its own, as the most that was allocated at once is known of a whole process.
fn costs_alone(case: usize, size: usize) -> [usize; 3] {
    let out = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "memory_stays_in_proportion_to_the_binary",
            "--nocapture",
        ])
        .env(VARIABLE, format!("{case} {size}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text.lines().find_map(|line| line.split_once("costs: "));
    let (_, numbers) = line.unwrap_or_else(|| panic!("{}: {out:?}", CASES[case].0));
    let numbers: Vec<usize> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// A function of an integer and three locals around `n` pieces, with something in front of them and behind.
fn function(before: &str, n: usize, piece: impl Fn(usize) -> String, behind: &str) -> String {
    let mut wat = format!(
        "(module (memory 1) (tag $e) (func $half (param i32) (result i32) (i32.shr_u (local.get 0) (i32.const 1)))
         (func (param i32) (result i32) (local i32 i32 i32) {before}\n"
    );
    for index in 0..n {
        wat.push_str(&piece(index));
        wat.push('\n');
    }
    let _ = write!(wat, "{behind} local.get 0))");
    wat
}

/// A case: what it is, how large, and the module of that size.
type Case = (&'static str, usize, fn(usize) -> String);

const CASES: &[Case] = &[
    ("additions in a row", 60_000, |n| {
        let piece = |k| format!("local.get 0 i32.const {k} i32.add local.set 0");
        function("", n, piece, "")
    }),
    ("products and differences in a row", 30_000, |n| {
        let piece = |k| {
            format!("local.get 0 local.get 1 i32.mul i32.const {k} i32.xor local.tee 1 local.set 0")
        };
        function("", n, piece, "")
    }),
    ("a sum of many loads", 20_000, |n| {
        let load = |k| format!("local.get 0 i32.load offset={}", k * 4 % 60_000);
        let sums = "i32.add ".repeat(n - 1);
        function("", n, load, &format!("{sums} local.set 0"))
    }),
    ("stores of loads", 15_000, |n| {
        let piece = |k| {
            let (from, to) = (k * 4 % 60_000, k * 8 % 60_000);
            format!("local.get 0 local.get 0 i32.load offset={from} i32.store offset={to}")
        };
        function("", n, piece, "")
    }),
    ("ifs in a row", 20_000, |n| {
        let piece =
            |k| format!("local.get 0 i32.const {k} i32.eq if i32.const {k} local.set 0 end");
        function("", n, piece, "")
    }),
    ("ifs inside each other", 8_000, |n| {
        let ends = "else local.get 0 i32.const 3 i32.add local.set 0 end ".repeat(n);
        function("", n, |_| "local.get 0 if".into(), &ends)
    }),
    ("blocks inside each other", 20_000, |n| {
        let ends = "local.get 0 br_if 0 end ".repeat(n);
        function("", n, |_| "block".into(), &ends)
    }),
    ("loops in a row", 12_000, |n| {
        let piece = |_| {
            "loop local.get 1 i32.const 1 i32.add local.tee 1 local.get 0 i32.lt_s br_if 0 end"
                .into()
        };
        function("", n, piece, "")
    }),
    ("loops inside each other", 500, |n| {
        let ends = "local.get 1 i32.const 1 i32.add local.tee 1 local.get 0 i32.lt_s br_if 0 end "
            .repeat(n);
        function("", n, |_| "loop".into(), &ends)
    }),
    ("a table of many branches", 20_000, |n| {
        let targets: String = (0..n).map(|k| format!(" {k}")).collect();
        let ends = "end local.get 0 i32.const 1 i32.add local.set 0 ".repeat(n);
        let behind = format!("local.get 0 br_table {targets} {ends}");
        function("", n, |_| "block".into(), &behind)
    }),
    ("many tables of branches", 500, |n| {
        let targets: String = (0..50).map(|k| format!(" {k}")).collect();
        let blocks = "block ".repeat(50);
        let ends = "end local.get 0 i32.const 1 i32.add local.set 0 ".repeat(50);
        let piece = |_| format!("block local.get 0 br_table {targets} 0 end");
        function(&blocks, n, piece, &ends)
    }),
    ("selections in a row", 60_000, |n| {
        let piece = |k| format!("i32.const {k} local.get 0 local.get 1 select local.set 0");
        function("", n, piece, "")
    }),
    ("values on the stack", 30_000, |n| {
        let sums = "i32.add ".repeat(n - 1);
        let piece = |k| format!("local.get 0 i32.const {k} i32.mul");
        function("", n, piece, &format!("{sums} local.set 0"))
    }),
    ("results on the stack", 10_000, |n| {
        let sums = "i32.add ".repeat(n - 1);
        let piece = |_| "local.get 0 call 1".into();
        function("", n, piece, &format!("{sums} local.set 0"))
    }),
    ("calls in a row", 20_000, |n| {
        function("", n, |_| "local.get 0 call 1 local.set 0".into(), "")
    }),
    ("divisions", 10_000, |n| {
        let piece = |k| {
            format!(
                "local.get 0 i32.const {} i32.div_s local.get 1 i32.rem_u local.set 0",
                k + 3
            )
        };
        function("", n, piece, "")
    }),
    ("handlers in a row", 16_000, |n| {
        let piece =
            |_| "block try_table (catch $e 0) local.get 0 call 1 local.set 0 end end".into();
        function("", n, piece, "")
    }),
    ("vectors", 10_000, |n| {
        let piece = |k| {
            format!(
                "local.get 0 i32x4.splat v128.const i32x4 {k} 2 3 4 i32x4.mul i32x4.extract_lane 1 local.set 0"
            )
        };
        function("", n, piece, "")
    }),
    ("code that is never reached", 50_000, |n| {
        function("unreachable", n, |_| "i32.const 1 i32.add drop".into(), "")
    }),
    ("locals used behind blocks", 6_000, |n| {
        let ifs = "local.get 0 if local.get 1 i32.const 1 i32.add local.set 1 end ".repeat(n);
        let sums: String = (4..n).map(|k| format!("local.get {k} i32.add ")).collect();
        let behind = format!("{ifs} local.get 0 {sums} local.set 0");
        let set = |k| format!("local.get 0 i32.const {k} i32.add local.set {k}");
        function(&format!("(local {})", "i32 ".repeat(n)), n, set, &behind)
    }),
    ("locals assigned to in blocks", 20_000, |n| {
        let sums: String = (4..n).map(|k| format!("local.get {k} i32.add ")).collect();
        let behind = format!("local.get 0 {sums} local.set 0");
        let set = |k| format!("local.get 0 if i32.const {k} local.set {k} end");
        function(&format!("(local {})", "i32 ".repeat(n)), n, set, &behind)
    }),
    ("locals in loops", 2_000, |n| {
        let piece = |k: usize| {
            let (a, b) = (k * 7 % n + 4, k * 11 % n + 4);
            format!("loop local.get {k} local.get {a} i32.add local.tee {b} br_if 0 end")
        };
        function(&format!("(local {})", "i32 ".repeat(n + 4)), n, piece, "")
    }),
    ("locals in loops inside each other", 400, |n| {
        let sums: String = (4..4 * n)
            .map(|k| format!("local.get {k} i32.add "))
            .collect();
        let ends = "local.get 1 br_if 0 end ".repeat(n);
        let behind = format!("local.get 0 {sums} local.set 1 {ends}");
        function(
            &format!("(local {})", "i32 ".repeat(4 * n)),
            n,
            |_| "loop".into(),
            &behind,
        )
    }),
    ("locals that a table of branches takes along", 4_000, |n| {
        let locals = n / 4;
        let targets = "0 1 ".repeat(n);
        let sets: String = (4..locals)
            .map(|k| format!("local.get 0 local.set {k} "))
            .collect();
        let sums: String = (4..locals)
            .map(|k| format!("local.get {k} i32.add "))
            .collect();
        let before = format!(
            "(local {}) block block block local.get 0 if br 2 end {sets} local.get 0 br_table {targets} 0 end end end local.get 0",
            "i32 ".repeat(locals)
        );
        function(&before, 1, |_| sums.clone(), "local.set 0")
    }),
    ("operands alive at blocks", 2_500, |n| {
        let ifs = "local.get 0 if i32.const 7 local.set 0 end ".repeat(n);
        let sums = "i32.add ".repeat(n - 1);
        let piece = |k| format!("local.get 0 i32.const {k} i32.mul");
        function("", n, piece, &format!("{ifs} {sums} local.set 0"))
    }),
    ("operands alive at calls", 6_000, |n| {
        let calls = "local.get 0 call 1 drop ".repeat(n);
        let sums = "i32.add ".repeat(n - 1);
        let piece = |k| format!("local.get 0 i32.const {k} i32.mul");
        function("", n, piece, &format!("{calls} {sums} local.set 0"))
    }),
    ("references alive at calls", 10_000, |n| {
        format!(
            "(module (func (result externref) (ref.null extern)) (func {} {}))",
            "call 0 ".repeat(n),
            "drop ".repeat(n)
        )
    }),
    ("objects", 1_500, |n| {
        let fields = "(field (mut i32))".repeat(1000);
        let piece = "struct.new_default 0 struct.get 0 500 drop ";
        format!(
            "(module (type (struct {fields})) (func {}))",
            piece.repeat(n)
        )
    }),
    ("functions that use a large type", 1_000, |n| {
        let fields = "(field (mut i32))".repeat(1000);
        let function = "(func (drop (struct.get 0 500 (struct.new_default 0))))";
        format!("(module (type (struct {fields})) {})", function.repeat(n))
    }),
    ("types", 20_000, |n| {
        let types: String = (0..n)
            .map(|k| {
                let fields = (0..16).map(|bit| match k >> bit & 1 {
                    0 => "(field i32)",
                    _ => "(field i64)",
                });
                format!("(type (struct {}))", fields.collect::<String>())
            })
            .collect();
        format!("(module {types})")
    }),
    ("types of one group", 10_000, |n| {
        let types: String = (0..n)
            .map(|k| format!("(type (struct (field (ref null {}))))", (k + 1) % n))
            .collect();
        format!("(module (rec {types}))")
    }),
    ("globals, exported", 20_000, |n| {
        let globals: String = (0..n)
            .map(|k| format!("(global (export \"{k}\") i32 (i32.const {k}))"))
            .collect();
        format!("(module {globals})")
    }),
    ("imports", 20_000, |n| {
        let imports: String = (0..n)
            .map(|k| format!("(import \"a\" \"{k}\" (func))"))
            .collect();
        format!("(module {imports})")
    }),
    ("segments", 20_000, |n| {
        let segments: String = (0..n)
            .map(|k| {
                let (data, element) = (k * 601 % 65_000, k * 997 % 100_000);
                format!("(data (i32.const {data}) \"x\") (elem (i32.const {element}) 0)")
            })
            .collect();
        format!("(module (memory 1) (table 100000 funcref) (func) {segments})")
    }),
    ("tiny functions", 20_000, |n| {
        format!(
            "(module {})",
            "(func (param i32) (result i32) local.get 0)".repeat(n)
        )
    }),
    ("tiny functions that call each other", 10_000, |n| {
        let functions: String = (0..n)
            .map(|k| {
                format!(
                    "(func (param i32) (result i32) (call {} (local.get 0)))",
                    (k + 1) % n
                )
            })
            .collect();
        format!("(module {functions})")
    }),
];

/// Most bytes that compiling may take at once for a byte of the binary.
const MOST: usize = 4_000;

#[test]
fn memory_stays_in_proportion_to_the_binary() {
    if let Ok(wanted) = env::var(VARIABLE) {
        let (case, size) = wanted.split_once(' ').unwrap();
        let (_, _, module) = CASES[case.parse::<usize>().unwrap()];
        let [peak, all, len] = costs(&module(size.parse().unwrap()));
        println!("\ncosts: {peak} {all} {len}");
        return;
    }
    for (case, &(what, size, _)) in CASES.iter().enumerate() {
        let [peak, all, len] = costs_alone(case, size);
        let [peak2, all2, len2] = costs_alone(case, 2 * size);
        let figures = format!(
            "{what}: {peak} at once and {all} in all for {len} bytes, {peak2} and {all2} for {len2}"
        );
        println!("{figures}");
        assert!(peak < MOST * len && peak2 < MOST * len2, "{figures}");
        // Vectors grow by doubling, so a little more than twice as much is in proportion, too.
        assert!(peak2 < 3 * peak, "{figures}");
        assert!(all2 < 3 * all, "{figures}");
    }
}
