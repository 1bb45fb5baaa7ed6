//! Which operator a trap is said to be of, when accesses to memory are optimised.

use cowling::{Config, Engine, Instance, Module, OptLevel, Store, Val, WasmBacktrace};
use std::fmt::Write as _;
use wasmparser::{Parser, Payload};

/// An address that no access of these tests may be made to.
const OUTSIDE: i32 = 0x7fff_0000;

/// Forms of expressions of each type: words that begin with `$` stand for expressions, `@` for an address that nothing else uses.
const FORMS: &[(&str, &[&str])] = &[
    (
        "$i32",
        &[
            "i32.const 2",
            "@ i32.load",
            "@ i32.load8_u",
            "@ i32.load16_s offset=16",
            "@ call 0",
            "$i32 i32.eqz",
            "$i64 i32.wrap_i64",
            "$i64 $i64 i64.lt_s",
            "$f64 $f64 f64.lt",
            "$i32 $i32 $i32 select",
            "$i32 if (result i32) i32.const 3 else i32.const 5 end",
            "$i32 $i32 i32.add",
            "i32.const 0 $i32 i32.sub",
            "$i32 $i32 i32.and",
            "$i32 i32.const -1 i32.xor",
            "$i32 $i32 i32.shl",
            "$i32 $i32 i32.gt_u",
            "$i32 $i32 i32.mul",
        ],
    ),
    (
        "$i64",
        &[
            "i64.const 7",
            "@ i64.load",
            "@ i64.load32_u",
            "@ i64.load8_s offset=8",
            "$i32 i64.extend_i32_u",
            "$i32 i64.extend_i32_s",
            "$i64 $i64 i64.add",
            "$i64 $i64 i64.xor",
            "$i64 i64.const 3 i64.rotl",
        ],
    ),
    (
        "$f64",
        &[
            "f64.const 0.5",
            "@ f64.load",
            "@ f32.load f64.promote_f32",
            "$i32 f64.convert_i32_s",
            "$i64 f64.reinterpret_i64",
            "$f64 f64.sqrt",
            "$f64 $f64 f64.add",
            "$f64 $f64 f64.div",
        ],
    ),
    (
        "$v128",
        &[
            "@ v128.load",
            "@ v128.load32_splat",
            "@ v128.load8x8_u",
            "$i32 i32x4.splat",
            "$v128 $v128 i32x4.add",
            "$v128 $v128 v128.and",
            "$v128 $f64 f64x2.replace_lane 1",
        ],
    ),
];

/// Statements. `=` stands for the address of the `@` before it.
const STATEMENTS: &[&str] = &[
    "i32.const 1024 $i32 i32.store",
    "i32.const 1024 $i64 i64.store16",
    "i32.const 1024 $f64 f64.store",
    "i32.const 1024 $v128 v128.store",
    "@ = i32.load $i32 i32.add i32.store",
    "@ = i64.load $i64 i64.xor i64.store",
    "@ = i32.load8_u $i32 i32.and i32.store8",
    "@ = i32.load8_u i64.extend_i32_u i64.store",
    "$i32 if i32.const 1024 i32.const 7 i32.store end",
    // There is nothing at this address, so these conditions are never true.
    "$i32 i32.const 4096 i32.load i32.lt_u if unreachable end",
    "i32.const 4096 i32.load @ i32.load i32.gt_u if unreachable end",
    "@ i64.load i32.const 4096 i64.load i64.lt_u if unreachable end",
    "i32.const 4096 f64.load @ f64.load f64.abs f64.gt if unreachable end",
    "block i32.const 4096 i32.load @ i32.load i32.le_u br_if 0 i32.const 5 drop unreachable end",
];

/// A random function whose parameters are addresses.
struct Generator {
    random: u64,
    body: String,
    /// How many accesses and calls there are.
    operators: usize,
    /// Which of them uses each parameter first.
    first_uses: Vec<usize>,
}

impl Generator {
    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        self.random = (self.random)
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        choices[(self.random >> 33) as usize % choices.len()]
    }

    fn write(&mut self, form: &str, depth: usize) {
        for word in form.split(' ') {
            match word {
                "@" => {
                    let _ = write!(self.body, "local.get {} ", self.first_uses.len());
                    self.first_uses.push(self.operators);
                }
                "=" => {
                    let _ = write!(self.body, "local.get {} ", self.first_uses.len() - 1);
                }
                _ if word.starts_with('$') => {
                    let (_, forms) = FORMS.iter().find(|(ty, _)| *ty == word).unwrap();
                    // Those without operands are in front.
                    let simple = forms.iter().take_while(|form| !form.contains('$')).count();
                    let forms = if depth == 0 { &forms[..simple] } else { forms };
                    let form = self.one_of(forms);
                    self.write(form, depth.saturating_sub(1));
                }
                _ => {
                    let accesses = word.contains("load") || word.contains("store");
                    self.operators += usize::from(accesses || word == "call");
                    self.body.push_str(word);
                    self.body.push(' ');
                }
            }
        }
    }
}

const LEVELS: [OptLevel; 3] = [OptLevel::None, OptLevel::Speed, OptLevel::SpeedAndSize];

fn instance(wasm: &[u8], level: OptLevel) -> (Store<()>, Instance) {
    let mut config = Config::new();
    config.cranelift_opt_level(level);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, wasm).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// Offsets of some operators in each function, in order. They are told by how they are debugged.
fn offsets(wasm: &[u8], wanted: impl Fn(&str) -> bool) -> Vec<Vec<usize>> {
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else {
            continue;
        };
        let operators = body.get_operators_reader().unwrap();
        let found = operators.into_iter_with_offsets().filter_map(|operator| {
            let (operator, offset) = operator.unwrap();
            wanted(&format!("{operator:?}")).then_some(offset as usize)
        });
        functions.push(found.collect());
    }
    functions
}

/// Bodies of functions with a parameter, of which 0 and 1 are good and bad in this order; what traps is the only operator of its kind.
const CONDITIONS: &[(&str, &str)] = &[
    ("local.get 0 if unreachable end", "Unreachable"),
    (
        "block local.get 0 i32.eqz br_if 0 unreachable end",
        "Unreachable",
    ),
    (
        "local.get 0 i32.const 8 i32.mul i32.load offset=4 if unreachable end",
        "Unreachable",
    ),
    (
        "local.get 0 if local.get 0 i32.const 3 i32.mul local.set 0 unreachable end",
        "Unreachable",
    ),
    (
        "local.get 0 if else return end i32.const 8 i32.const 0 i32.store unreachable",
        "Unreachable",
    ),
    (
        "local.get 0 if i32.const 3 local.get 0 i32.eqz i32.div_u drop end",
        "I32DivU",
    ),
    (
        "local.get 0 if i32.const 70000 i32.load drop end",
        "I32Load {",
    ),
    (
        "local.get 0 if ref.null func ref.as_non_null drop end",
        "RefAsNonNull",
    ),
    (
        "local.get 0 if f64.const 1e300 i32.trunc_f64_s drop end",
        "I32TruncF64S",
    ),
    (
        "local.get 0 i32.const 100 i32.mul call_indirect",
        "CallIndirect",
    ),
    (
        "local.get 0 i32.const 100 i32.mul table.get drop",
        "TableGet",
    ),
];

#[test]
fn a_trap_on_a_condition_is_not_of_the_branch() {
    for (body, wanted) in CONDITIONS {
        let text = format!(
            "(module (memory 1) (table 1 1 funcref) (elem (i32.const 0) $nothing) (func $nothing)
               (data (i32.const 12) \"\\01\")
               (func (export \"f\") (param i32) {body}))"
        );
        let wasm = wat::parse_str(&text).unwrap();
        let offset = offsets(&wasm, |name| name.starts_with(wanted))[1][0];
        for level in LEVELS {
            let (mut store, instance) = instance(&wasm, level);
            let f = (instance.get_typed_func::<i32, ()>(&mut store, "f")).unwrap();
            f.call(&mut store, 0).unwrap();
            let error = f.call(&mut store, 1).unwrap_err();
            let trace = error.downcast_ref::<WasmBacktrace>().unwrap();
            let found = trace.frames()[0].module_offset();
            assert_eq!(found, Some(offset), "{level:?}: {body}: {error:?}");
        }
    }
}

#[test]
fn a_trap_is_of_the_access_that_trapped() {
    for seed in 0..100 {
        let mut generator = Generator {
            random: seed,
            body: String::new(),
            operators: 0,
            first_uses: Vec::new(),
        };
        for _ in 0..4 {
            let statement = generator.one_of(STATEMENTS);
            generator.write(statement, 4);
            generator.body.push('\n');
        }
        let parameters = generator.first_uses.len();
        let text = format!(
            "(module (memory 1)
               (func (param i32) (result i32) local.get 0 i32.load offset=8)
               (func (export \"f\") (param {})\n{}))",
            "i32 ".repeat(parameters),
            generator.body
        );
        let wasm = wat::parse_str(&text).unwrap();
        let offsets = offsets(&wasm, |name| {
            name.contains("Load") || name.contains("Store") || name.starts_with("Call")
        });
        for level in LEVELS {
            let (mut store, instance) = instance(&wasm, level);
            let f = instance.get_func(&mut store, "f").unwrap();
            let inside: Vec<_> = (0..parameters).map(|k| Val::I32(k as i32 * 8)).collect();
            f.call(&mut store, &inside, &mut []).unwrap();
            for (parameter, &operator) in generator.first_uses.iter().enumerate() {
                let mut addresses = inside.clone();
                addresses[parameter] = Val::I32(OUTSIDE);
                let error = f.call(&mut store, &addresses, &mut []).unwrap_err();
                let trace = error.downcast_ref::<WasmBacktrace>().unwrap();
                let frames = trace.frames().iter();
                let found: Vec<_> = frames.map(|frame| frame.module_offset()).collect();
                let of_f = Some(offsets[1][operator]);
                let expected = match trace.frames().len() {
                    1 => vec![of_f],
                    _ => vec![Some(offsets[0][0]), of_f],
                };
                assert_eq!(
                    found, expected,
                    "{level:?}: parameter {parameter} of\n{text}"
                );
            }
        }
    }
}
