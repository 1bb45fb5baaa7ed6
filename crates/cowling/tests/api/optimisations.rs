//! Code computes the same with and without optimisations: every function of the compiler's fixtures for its own optimisations is called
//! with values at the edges and with random ones.

use cowling::{Config, Engine, ExternType, Instance, Module, OptLevel, Store, Trap, Val, ValType};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// How often each function is called.
const CALLS: usize = 3000;

/// Random numbers, the same ones every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number that is likely to be at an edge of something: of a word, of half of it, of a page.
    fn edgy(&mut self) -> u64 {
        let edges = [
            0,
            1 << 4,
            1 << 8,
            0xffff,
            1 << 16,
            1 << 31,
            1 << 32,
            1 << 63,
        ];
        let near: u64 = edges[self.next() as usize % edges.len()];
        match self.next() % 8 {
            0 | 1 => self.next(),
            2 => self.next() % 0x1_1000,
            3 => (self.next() as u32).into(),
            4 => self.next() % 64,
            5 => near.wrapping_add(self.next() % 4),
            _ => near.wrapping_sub(self.next() % 80),
        }
    }

    fn val(&mut self, ty: &ValType) -> Val {
        let number = self.edgy();
        match ty {
            ValType::I32 => Val::I32(number as i32),
            ValType::I64 => Val::I64(number as i64),
            ValType::F32 => Val::F32(number as u32),
            ValType::F64 => Val::F64(number),
            _ => panic!("fixtures have functions of numbers only"),
        }
    }
}

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compiler/tests/optimize");
    let entries = fs::read_dir(&dir).expect("the folder of fixtures is readable");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("its entries are readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "wat"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// An instance of a fixture whose settings are at its head, with or without optimisations.
fn instance(text: &str, level: OptLevel) -> (Store<()>, Instance) {
    let mut config = Config::new();
    for line in text.lines() {
        let Some(setting) = line.strip_prefix(";;!") else {
            break;
        };
        let (name, value) = setting.split_once('=').unwrap();
        config.set_knob(name.trim(), value.trim()).unwrap();
    }
    config
        .cranelift_opt_level(level)
        .cranelift_debug_verifier(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// What a call gives, floats as their bits, and what it leaves in memory and globals.
fn outcome(
    store: &mut Store<()>,
    instance: &Instance,
    name: &str,
    args: &[Val],
) -> (Result<Vec<Val>, Option<Trap>>, Vec<u64>) {
    let func = instance.get_func(&mut *store, name).unwrap();
    let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
    let result = func.call(&mut *store, args, &mut results);
    let result = match result {
        Ok(()) => Ok(results),
        Err(error) => Err(error.downcast_ref::<Trap>().copied()),
    };
    let exports: Vec<_> = instance
        .exports(&mut *store)
        .map(|e| e.into_extern())
        .collect();
    let mut left = Vec::new();
    for export in exports {
        if let Some(memory) = export.clone().into_memory() {
            let words = memory.data(&*store).chunks(8).map(|bytes| {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(word)
            });
            left.push(words.fold(0, |hash: u64, word| {
                (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
            }));
        } else if let Some(global) = export.into_global() {
            left.push(global.get(&mut *store).i64().unwrap_or(0) as u64);
        }
    }
    (result, left)
}

#[test]
fn optimised_code_computes_the_same() {
    for path in fixtures() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy();
        let (mut plain, plain_instance) = instance(&text, OptLevel::None);
        let (mut fast, fast_instance) = instance(&text, OptLevel::Speed);
        let module = plain_instance.module(&plain).clone();
        let mut numbers = Numbers(0);
        for export in module.exports() {
            let ExternType::Func(ty) = export.ty() else {
                continue;
            };
            for _ in 0..CALLS {
                let args: Vec<Val> = ty.params().map(|ty| numbers.val(&ty)).collect();
                let expected = outcome(&mut plain, &plain_instance, export.name(), &args);
                let found = outcome(&mut fast, &fast_instance, export.name(), &args);
                assert_eq!(
                    format!("{found:?}"),
                    format!("{expected:?}"),
                    "{name}: {}{args:?}",
                    export.name()
                );
            }
        }
    }
}

#[test]
fn products_and_sums_are_those_of_128_bits() {
    let text = include_str!("../../../compiler/tests/optimize/product.wat");
    let (mut store, products) = instance(text, OptLevel::Speed);
    let text = include_str!("../../../compiler/tests/optimize/carry.wat");
    let (mut sums_store, sums) = instance(text, OptLevel::Speed);
    let whole = |low: i64, high: i64| u128::from(low as u64) | u128::from(high as u64) << 64;
    let mut numbers = Numbers(1);
    for _ in 0..CALLS {
        let [a, b, c, d] = [(); 4].map(|()| numbers.edgy() as i64);
        let product = whole(a, 0) * whole(b, 0);
        for name in ["multi3", "four"] {
            let func = products
                .get_typed_func::<(i64, i64), (i64, i64)>(&mut store, name)
                .unwrap();
            let (low, high) = func.call(&mut store, (a, b)).unwrap();
            assert_eq!(whole(low, high), product, "{name} {a} {b}");
        }
        let high = |product: i128| (product >> 64) as i64;
        for (name, expected) in [
            ("signed", high(i128::from(a) * i128::from(b))),
            ("constant", {
                let constant = 0xfedc_ba98_89ab_cdef_u64;
                high((u128::from(a as u64) * u128::from(constant)) as i128).wrapping_add(b)
            }),
        ] {
            let func = products
                .get_typed_func::<(i64, i64), i64>(&mut store, name)
                .unwrap();
            assert_eq!(func.call(&mut store, (a, b)).unwrap(), expected, "{name}");
        }
        for (name, expected) in [
            ("add128", whole(a, b).wrapping_add(whole(c, d))),
            ("sub128", whole(a, b).wrapping_sub(whole(c, d))),
        ] {
            let func = sums
                .get_typed_func::<(i64, i64, i64, i64), (i64, i64)>(&mut sums_store, name)
                .unwrap();
            let (low, high) = func.call(&mut sums_store, (a, b, c, d)).unwrap();
            assert_eq!(whole(low, high), expected, "{name}");
        }
    }
}
