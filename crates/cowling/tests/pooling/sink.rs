//! A guest with a bit of everything, which can make all of it dirty and end in many ways.

use crate::support::{Life, Never, Snapshot, host_value, snapshot};
use cowling::*;
use std::fmt::Write;
use std::hint::black_box;

/// A memory of the guest.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) memories: &'static [MemoryShape],
    /// Is there a global whose first value depends on the instance?
    pub(crate) computes: bool,
}

#[derive(Clone)]
pub(crate) struct MemoryShape {
    pub(crate) pages: (u64, u64),
    /// Offset and length in bytes of active data segments whose place is known.
    pub(crate) segments: &'static [(usize, usize)],
}

const fn memory(pages: (u64, u64), segments: &'static [(usize, usize)]) -> MemoryShape {
    MemoryShape { pages, segments }
}

const KIB: usize = 1 << 10;

/// Memories with images of every kind: none, copied, mapped; whole pages or not; at the beginning or elsewhere.
pub(crate) const SHAPES: &[Shape] = &[
    Shape {
        name: "no memory",
        memories: &[],
        computes: true,
    },
    Shape {
        name: "empty memory",
        memories: &[memory((0, 3), &[])],
        computes: false,
    },
    Shape {
        name: "no image",
        memories: &[memory((2, 5), &[])],
        computes: false,
    },
    Shape {
        name: "small image",
        memories: &[memory((2, 5), &[(0, 100), (9000, 3000)])],
        computes: false,
    },
    Shape {
        name: "small image elsewhere",
        memories: &[memory((2, 5), &[(70_001, 4 * KIB + 1)])],
        computes: true,
    },
    Shape {
        name: "large image",
        memories: &[memory((8, 12), &[(0, 300 * KIB)])],
        computes: true,
    },
    Shape {
        name: "large image elsewhere, not whole pages",
        memories: &[memory((8, 12), &[(65_537, 200_003), (400_000, 7)])],
        computes: false,
    },
    Shape {
        name: "image of 1 MiB up to the end",
        memories: &[memory((17, 20), &[(64 * KIB, 1024 * KIB)])],
        computes: false,
    },
    Shape {
        name: "three memories",
        memories: &[
            memory((2, 4), &[(5, 5)]),
            memory((8, 9), &[(12_345, 300 * KIB)]),
            memory((1, 3), &[]),
        ],
        computes: true,
    },
];

/// Byte `at` of what segments of memory `index` put there. Never 0 nor [`DIRT`].
fn segment_byte(index: usize, at: usize) -> u8 {
    1 + ((at * 7 + index * 13 + at / 251) % 99) as u8
}

/// What guests fill their memories with.
pub(crate) const DIRT: u8 = 0xa5;

/// How much the guest makes dirty.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) enum Dirt {
    /// A byte here and there.
    Sparse,
    /// Everything.
    All,
    /// Everything, after growing to the maximum.
    Grown,
}

impl Shape {
    /// What its memories hold at first.
    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        let contents = |(index, memory): (usize, &MemoryShape)| {
            let mut bytes = vec![0; memory.pages.0 as usize * 65536];
            for &(offset, len) in memory.segments {
                for (at, byte) in bytes.iter_mut().enumerate().skip(offset).take(len) {
                    *byte = segment_byte(index, at);
                }
            }
            bytes
        };
        self.memories.iter().enumerate().map(contents).collect()
    }

    /// The guest's text.
    pub(crate) fn wat(&self) -> String {
        let mut text = String::from(FRONT);
        if !self.computes {
            text = text.replace(
                "(mut funcref) (ref.func $seven)",
                "(mut funcref) (ref.null func)",
            );
        }
        let (mut grow, mut sparse, mut all) = (String::new(), String::new(), String::new());
        let (mut init, mut folded) = (String::new(), String::new());
        let mut beyond = String::new();
        for (index, memory) in self.memories.iter().enumerate() {
            let (min, max) = memory.pages;
            let _ = writeln!(text, "(memory $m{index} (export \"m{index}\") {min} {max})");
            for (number, &(offset, len)) in memory.segments.iter().enumerate() {
                let _ = write!(
                    text,
                    "(data $a{index}_{number} (memory $m{index}) (i32.const {offset}) \""
                );
                for at in offset..offset + len {
                    let _ = write!(text, "\\{:02x}", segment_byte(index, at));
                }
                let _ = writeln!(text, "\")");
            }
            let _ = writeln!(
                grow,
                "(drop (memory.grow $m{index} (i32.const {})))",
                max - min
            );
            let bytes = min * 65536;
            for at in [
                0,
                4095,
                3 * 4096 + 17,
                70_000,
                70_001,
                5 * 65536,
                bytes.saturating_sub(1),
            ] {
                if at < bytes {
                    let _ = writeln!(
                        sparse,
                        "(i32.store8 $m{index} (i32.const {at}) (i32.const {DIRT}))"
                    );
                }
            }
            let _ = writeln!(
                all,
                "(memory.fill $m{index} (i32.const 0) (i32.const {DIRT}) (i32.mul (memory.size $m{index}) (i32.const 65536)))"
            );
            if min > 0 {
                let _ = writeln!(
                    init,
                    "(memory.init $m{index} $passive (i32.const 65000) (i32.const 1) (i32.const 10))"
                );
            }
            let _ = writeln!(
                beyond,
                "(if (i32.eq (local.get 0) (i32.const {index})) (then (drop (i32.load8_u $m{index}
                    (i32.add (local.get 1) (i32.mul (memory.size $m{index}) (i32.const 65536)))))))"
            );
            if index == 0 && !memory.segments.is_empty() {
                let _ = writeln!(
                    folded,
                    "(memory.init $m0 $a0_0 (i32.const 0) (i32.const 0) (i32.const 1))"
                );
            }
        }
        let _ = write!(
            text,
            r#"(func (export "grow") (call $grow))
            (func $grow {grow}
                (drop (table.grow $t (ref.null func) (i32.const 8)))
                (drop (table.grow $x (ref.null extern) (i32.const 8)))
                (drop (table.grow $large (ref.null func) (i32.const 5000))))
            (func (export "dirty_sparse") (param $ref externref)
                {sparse}
                (table.set $t (i32.const 3) (ref.func $evil))
                (table.set $x (i32.const 2) (local.get $ref))
                (global.set $i32 (i32.const 9)))
            (func $dirty (export "dirty_all") (param $ref externref)
                {all}
                (table.fill $t (i32.const 0) (ref.func $evil) (table.size $t))
                (table.fill $x (i32.const 0) (local.get $ref) (table.size $x))
                (table.fill $large (i32.const 0) (ref.func $evil) (table.size $large))
                (global.set $i32 (i32.const -1))
                (global.set $i64 (i64.const -1))
                (global.set $f32 (f32.const 9.5))
                (global.set $f64 (f64.const nan:0x123))
                (global.set $v128 (v128.const i64x2 -1 -2))
                (global.set $funcref (ref.func $evil))
                (global.set $funcref0 (ref.func $evil))
                (global.set $externref (local.get $ref))
                (data.drop $passive) (elem.drop $functions) (elem.drop $nulls) (elem.drop $expressions)
                (drop (call $recurse (i32.const 5) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))))
            (func (export "dirty_grown") (param $ref externref) (call $grow) (call $dirty (local.get $ref)))
            (func (export "init_passive")
                {init}
                (table.init $t $functions (i32.const 8) (i32.const 1) (i32.const 2))
                (table.init $large $expressions (i32.const 0) (i32.const 0) (i32.const 3))
                (table.init $x $nulls (i32.const 0) (i32.const 0) (i32.const 2)))
            (func (export "beyond") (param i32 i32) {beyond})
            (func (export "init_folded_data") {folded})
            (func (export "init_folded_elements")
                (table.init $t $folded (i32.const 0) (i32.const 0) (i32.const 1)))
            )"#
        );
        text
    }
}

const FRONT: &str = r#"(module
    (import "host" "life" (func $life (result i32)))
    (import "host" "act" (func $act (param i32)))
    (import "host" "wait" (func $wait))
    (table $t (export "t") 12 20 funcref)
    (table $x (export "x") 8 16 externref)
    (table $large (export "large") 10 5010 funcref)
    (elem $folded (table $t) (i32.const 2) func $f0 $f1 $life $f2)
    (elem $functions func $f2 $f1 $life)
    (elem $expressions funcref (ref.func $f1) (ref.null func) (ref.func $life))
    (elem $nulls externref (ref.null extern) (ref.null extern))
    (elem declare func $evil $seven)
    (data $passive "some bytes that were not there before")
    (global $i32 (export "i32") (mut i32) (i32.const 32))
    (global $i64 (export "i64") (mut i64) (i64.const 64))
    (global $f32 (export "f32") (mut f32) (f32.const 0.5))
    (global $f64 (export "f64") (mut f64) (f64.const -0.25))
    (global $v128 (export "v128") (mut v128) (v128.const i64x2 5 6))
    (global $funcref (export "funcref") (mut funcref) (ref.func $seven))
    (global $funcref0 (export "funcref0") (mut funcref) (ref.null func))
    (global $externref (export "externref") (mut externref) (ref.null extern))
    (global $constant (export "constant") i64 (i64.const 99))
    (func $f0 (result i32) (i32.const 100))
    (func $f1 (result i32) (i32.const 101))
    (func $f2 (result i32) (i32.const 102))
    (func $seven (result i32) (i32.const 7))
    (func $evil (result i32) (i32.const 666))
    (func (export "life") (result i32) (call $life))
    (func (export "indirect") (param i32) (result i32) (call_indirect $t (result i32) (local.get 0)))
    (func (export "act") (param i32) (call $act (local.get 0)))
    (func (export "wait") (call $wait))
    (func (export "unreachable") (unreachable))
    (func (export "out_of_bounds") (drop (call_indirect $t (result i32) (i32.const 1000))))
    (func (export "spin") (loop (br 0)))
    (func $recurse (param $n i32) (param i64 i64 i64 i64) (result i64)
        (local $below i64)
        (if (i32.eqz (local.get $n)) (then (return (i64.const 0))))
        (local.set $below (call $recurse (i32.sub (local.get $n) (i32.const 1))
            (local.get 2) (local.get 3) (local.get 4) (local.get 1)))
        (i64.add (local.get $below) (i64.xor (i64.add (local.get 1) (local.get 2)) (i64.mul (local.get 3) (local.get 4)))))
    (func (export "recurse") (param i32)
        (drop (call $recurse (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))))
"#;

/// What `act` does in the host.
#[derive(Copy, Clone)]
pub(crate) enum Act {
    Nothing,
    Fail,
    Panic,
    /// Uses much stack.
    Stack,
    Yield,
    Terminate,
}

#[inline(never)]
fn use_stack() {
    let mut buffer = [0u8; 150 << 10];
    buffer.fill(DIRT);
    black_box(&mut buffer);
}

/// Host functions for the guest.
pub(crate) fn linker(engine: &Engine) -> Linker<Life> {
    let mut linker = Linker::new(engine);
    let life = |caller: Caller<'_, Life>| *caller.data();
    linker.func_wrap("host", "life", life).unwrap();
    let act = |mut caller: Caller<'_, Life>, act: i32| -> Result<()> {
        match act {
            a if a == Act::Fail as i32 => bail!("host function failed"),
            a if a == Act::Panic as i32 => {
                std::panic::resume_unwind(Box::new("host function panicked"))
            }
            a if a == Act::Stack as i32 => use_stack(),
            a if a == Act::Yield as i32 => caller.yield_()?,
            a if a == Act::Terminate as i32 => caller.terminate(5)?,
            _ => {}
        }
        Ok(())
    };
    linker.func_wrap("host", "act", act).unwrap();
    linker
        .func_wrap_async("host", "wait", |_: Caller<'_, Life>, ()| Box::new(Never))
        .unwrap();
    linker
}

pub(crate) fn pre(engine: &Engine, shape: &Shape) -> InstancePre<Life> {
    let module = Module::new(engine, shape.wat()).unwrap();
    linker(engine).instantiate_pre(&module).unwrap()
}

pub(crate) fn call<T: 'static>(
    store: &mut impl AsContextMut<Data = T>,
    instance: Instance,
    name: &str,
    params: &[Val],
) -> Result<()> {
    let func = instance.get_func(&mut *store, name).unwrap();
    func.call(store, params, &mut [])
}

/// Makes things dirty.
pub(crate) fn dirty(store: &mut impl AsContextMut<Data = Life>, instance: Instance, dirt: Dirt) {
    let name = match dirt {
        Dirt::Sparse => "dirty_sparse",
        Dirt::All => "dirty_all",
        Dirt::Grown => "dirty_grown",
    };
    let value = host_value(&mut *store, 1313);
    call(store, instance, name, &[Val::ExternRef(value)]).unwrap();
}

/// Everything that can be found out about a new guest: what it exports at first, after its passive segments were used, and
/// after it has grown. Says how calls ended, too.
pub(crate) fn examine(
    store: &mut impl AsContextMut<Data = Life>,
    instance: Instance,
) -> Vec<Snapshot> {
    let mut found = vec![snapshot(&mut *store, instance)];
    let mut calls = Vec::new();
    for name in ["init_passive", "init_folded_data", "init_folded_elements"] {
        let result = call(store, instance, name, &[]);
        calls.push(format!(
            "{name}: {:?}",
            result.map_err(|e| e.root_cause().to_string())
        ));
        found.push(snapshot(&mut *store, instance));
    }
    let indirect = instance
        .get_typed_func::<i32, i32>(&mut *store, "indirect")
        .unwrap();
    let results = (0..13)
        .map(|n| indirect.call(&mut *store, n).ok())
        .collect::<Vec<_>>();
    calls.push(format!("{results:?}"));
    // Nothing can be reached beyond what a memory has now, although there was once.
    for memory in 0..3 {
        for offset in [0, 4096, 65_535] {
            let params = [Val::I32(memory), Val::I32(offset)];
            let result = call(store, instance, "beyond", &params);
            calls.push(format!("beyond {memory}: {:?}", result.is_ok()));
        }
    }
    call(store, instance, "grow", &[]).unwrap();
    found.push(snapshot(&mut *store, instance));
    let life = instance
        .get_typed_func::<(), i32>(&mut *store, "life")
        .unwrap();
    calls.push(format!("{}", life.call(&mut *store, ()).unwrap()));
    let calls = calls.join(", ");
    found.push(vec![("calls".into(), crate::support::Item::Global(calls))]);
    found
}
