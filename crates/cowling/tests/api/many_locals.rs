//! Functions of so many locals and blocks that most locals are kept in the frame: they compute what others do.

use crate::support::{linked, trap};
use cowling::*;
use std::fmt::Write as _;

/// Locals of each type, blocks around uses of them: many enough that not all locals are variables, whatever is used most.
const LOCALS: usize = 500;
const BLOCKS: usize = 2500;

/// Random numbers, the same ones every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % most
    }
}

/// What one block does, if the function's argument has a bit set.
#[derive(Copy, Clone)]
enum Step {
    /// A number local becomes the sum of itself, another, and a constant.
    Number(usize, usize, i32),
    /// The same by way of a call.
    Call(usize, usize, i32),
    /// The same for long numbers, floats and vectors.
    Long(usize, usize, i32),
    Float(usize, usize, i32),
    Vector(usize, usize, i32),
    /// The same, and what was assigned is on the operand stack.
    Tee(usize, usize, i32),
    /// The same, then an exception is thrown, and another local is assigned to in its handler.
    Throw(usize, usize, i32),
    /// A reference local becomes an object with a number in it, or the same as another.
    Object(usize, usize, i32),
    Reference(usize, usize),
}

/// What becomes of the locals, as Rust does it.
struct Model {
    numbers: Vec<i32>,
    longs: Vec<i64>,
    floats: Vec<f64>,
    vectors: Vec<[i32; 4]>,
    objects: Vec<Option<i32>>,
}

fn steps() -> Vec<Step> {
    let mut numbers = Numbers(7);
    let mut step = |_| {
        let (to, from) = (numbers.below(LOCALS), numbers.below(LOCALS));
        let constant = numbers.below(1000) as i32;
        match numbers.below(9) {
            0 => Step::Number(to, from, constant),
            1 => Step::Call(to, from, constant),
            2 => Step::Long(to, from, constant),
            3 => Step::Float(to, from, constant),
            4 => Step::Vector(to, from, constant),
            5 => Step::Tee(to, from, constant),
            6 => Step::Throw(to, from, constant),
            7 => Step::Object(to, from, constant),
            _ => Step::Reference(to, from),
        }
    };
    (0..BLOCKS).map(&mut step).collect()
}

/// Is the block of this number entered?
fn is_entered(argument: i32, block: usize) -> bool {
    argument >> (block % 31) & 1 != 0
}

fn model(steps: &[Step], argument: i32) -> Model {
    let mut model = Model {
        numbers: vec![0; LOCALS],
        longs: vec![0; LOCALS],
        floats: vec![0.0; LOCALS],
        vectors: vec![[0; 4]; LOCALS],
        objects: vec![None; LOCALS],
    };
    let Model {
        numbers,
        longs,
        floats,
        vectors,
        objects,
    } = &mut model;
    numbers[0] = argument;
    for (block, &step) in steps.iter().enumerate() {
        if !is_entered(argument, block) {
            continue;
        }
        let sum = |a: i32, b: i32, c: i32| a.wrapping_add(b).wrapping_add(c);
        match step {
            Step::Number(to, from, c) | Step::Call(to, from, c) => {
                numbers[to] = sum(numbers[to], numbers[from], c);
            }
            Step::Tee(to, from, c) => {
                numbers[to] = sum(numbers[to], numbers[from], c);
                numbers[from] = numbers[to];
            }
            Step::Throw(to, from, c) => {
                numbers[to] = sum(numbers[to], numbers[from], c);
                numbers[from] = c;
            }
            Step::Long(to, from, c) => {
                longs[to] = longs[to].wrapping_add(longs[from]).wrapping_add(c.into());
            }
            Step::Float(to, from, c) => {
                floats[to] = (floats[to] + floats[from]) * 0.5 + f64::from(c);
            }
            Step::Vector(to, from, c) => {
                let from = vectors[from];
                for (to, from) in vectors[to].iter_mut().zip(from) {
                    *to = sum(*to, from, c);
                }
            }
            Step::Object(to, from, c) => {
                objects[to] = Some(objects[from].unwrap_or(-1).wrapping_add(c));
            }
            Step::Reference(to, from) => objects[to] = objects[from],
        }
    }
    model
}

impl Model {
    /// One number for all of it.
    fn digest(&self, start: i64) -> i64 {
        let vectors = self.vectors.iter().flatten();
        let small = self.numbers.iter().chain(vectors).copied();
        let objects = self.objects.iter().map(|object| object.unwrap_or(-1));
        let numbers = small.map(i64::from).chain(self.longs.iter().copied());
        let floats = self.floats.iter().map(|float| float.to_bits() as i64);
        let all = numbers.chain(floats).chain(objects.map(i64::from));
        all.fold(start, |digest, number| {
            digest.wrapping_mul(31).wrapping_add(number)
        })
    }
}

/// The function of these steps, and helpers.
fn module(steps: &[Step], locals: &str) -> String {
    let mut body = String::new();
    for (block, &step) in steps.iter().enumerate() {
        let bit = block % 31;
        let _ = write!(
            body,
            "(if (i32.and (i32.shr_u (local.get $n) (i32.const {bit})) (i32.const 1)) (then "
        );
        let sum = |to: usize, from: usize, c: i32| {
            format!("(i32.add (i32.add (local.get $i{to}) (local.get $i{from})) (i32.const {c}))")
        };
        let _ = match step {
            Step::Number(to, from, c) => write!(body, "(local.set $i{to} {})", sum(to, from, c)),
            Step::Call(to, from, c) => write!(
                body,
                "(local.set $i{to} (call $sum (local.get $i{to}) (local.get $i{from}) (i32.const {c})))"
            ),
            Step::Long(to, from, c) => write!(
                body,
                "(local.set $l{to} (i64.add (i64.add (local.get $l{to}) (local.get $l{from})) (i64.const {c})))"
            ),
            Step::Float(to, from, c) => write!(
                body,
                "(local.set $f{to} (f64.add (f64.mul (f64.add (local.get $f{to}) (local.get $f{from})) (f64.const 0.5)) (f64.const {c})))"
            ),
            Step::Vector(to, from, c) => write!(
                body,
                "(local.set $v{to} (i32x4.add (i32x4.add (local.get $v{to}) (local.get $v{from})) (v128.const i32x4 {c} {c} {c} {c})))"
            ),
            Step::Tee(to, from, c) => write!(
                body,
                "(local.set $i{from} (local.tee $i{to} {}))",
                sum(to, from, c)
            ),
            Step::Throw(to, from, c) => write!(
                body,
                "(block $caught (result i32) (try_table (catch $e $caught)
                    (local.set $i{to} {}) (call $throw (i32.const {c}))) (i32.const 0)) (local.set $i{from})",
                sum(to, from, c)
            ),
            Step::Object(to, from, c) => write!(
                body,
                "(local.set $o{to} (struct.new $box (i32.add (call $unbox (local.get $o{from})) (i32.const {c}))))"
            ),
            Step::Reference(to, from) => write!(body, "(local.set $o{to} (local.get $o{from}))"),
        };
        body.push_str("))\n");
        if block % 500 == 0 {
            body.push_str("(call $collect)");
        }
    }
    let mut digest = String::new();
    // A parameter that is used once only.
    let _ = write!(digest, "(local.set $digest (local.get $p))");
    let mut add = |value: String| {
        let _ = writeln!(
            digest,
            "(local.set $digest (i64.add (i64.mul (local.get $digest) (i64.const 31)) {value}))"
        );
    };
    for k in 0..LOCALS {
        add(format!("(i64.extend_i32_s (local.get $i{k}))"));
    }
    for k in 0..LOCALS {
        for lane in 0..4 {
            add(format!(
                "(i64.extend_i32_s (i32x4.extract_lane {lane} (local.get $v{k})))"
            ));
        }
    }
    for k in 0..LOCALS {
        add(format!("(local.get $l{k})"));
    }
    for k in 0..LOCALS {
        add(format!("(i64.reinterpret_f64 (local.get $f{k}))"));
    }
    for k in 0..LOCALS {
        add(format!(
            "(i64.extend_i32_s (call $unbox (local.get $o{k})))"
        ));
    }
    format!(
        r#"(module
            (type $box (struct (field i32)))
            (import "" "collect" (func $collect))
            (tag $e (param i32))
            (func $sum (param i32 i32 i32) (result i32)
                (i32.add (i32.add (local.get 0) (local.get 1)) (local.get 2)))
            (func $throw (param i32) (throw $e (local.get 0)))
            (func $unbox (param $o (ref null $box)) (result i32)
                (if (ref.is_null (local.get $o)) (then (return (i32.const -1))))
                (struct.get $box 0 (local.get $o)))
            (func (export "run") (param $n i32) (param $p i64) (result i64) {locals} (local $digest i64)
                (local.set $i0 (local.get $n))
                {body} {digest} local.get $digest)
            (func (export "divide") (param $n i32) (param $p i64) (result i64) {locals} (local $digest i64)
                {body} (drop (i32.div_s (i32.const 1) (local.get $n))) {digest} local.get $digest))"#
    )
}

fn locals() -> String {
    let types = [
        ("i", "i32"),
        ("l", "i64"),
        ("f", "f64"),
        ("v", "v128"),
        ("o", "(ref null $box)"),
    ];
    let mut locals = String::new();
    for (letter, ty) in types {
        for k in 0..LOCALS {
            let _ = write!(locals, "(local ${letter}{k} {ty})");
        }
    }
    locals
}

#[test]
fn locals_in_the_frame_are_what_they_would_be_in_registers() {
    let steps = steps();
    let text = module(&steps, &locals());
    let (mut store, instance) = linked::<()>(&text, |linker| {
        let collect = |mut caller: Caller<'_, ()>| caller.gc(None);
        linker.func_wrap("", "collect", collect).unwrap();
    })
    .unwrap();
    let mut function = |name: &str| {
        let function = instance.get_typed_func::<(i32, i64), i64>(&mut store, name);
        function.unwrap()
    };
    let (run, divide) = (function("run"), function("divide"));
    for argument in [0, 1, -1, 0x1234_5678, 0x5555_5555, i32::MIN] {
        let digest = run.call(&mut store, (argument, 0x1_2345_6789)).unwrap();
        let expected = model(&steps, argument).digest(0x1_2345_6789);
        assert_eq!(digest, expected, "{argument:#x}");
    }
    let error = divide.call(&mut store, (0, 0)).unwrap_err();
    assert_eq!(trap(&error), Trap::IntegerDivisionByZero);
    divide.call(&mut store, (1, 0)).unwrap();
}
