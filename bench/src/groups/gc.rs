//! Guests that make objects all the time.
//!
//! Each run is of a new instance in a new store, so it begins with an empty heap; a part of it is done in each engine's default
//! configuration. Wasmtime does not say how long its collections take, so pauses are reported of Cowling alone.

use super::Group;
use crate::engines::failed;
use crate::lab::Lab;
use crate::measure::{Case, Quantity, Table, Target, Unit, timed};
use anyhow::{Result, ensure};

pub const GROUP: Group = Group {
    name: "gc",
    about: "Guests that make structs and arrays all the time, in a heap that begins empty: how long they take with collections \
            included, and how long Cowling's collections stop them.",
    tables,
};

/// A guest of `guests/gc`: its text, what its function `run` is given, and what it must return. The results were computed by
/// other programs.
#[derive(Copy, Clone)]
struct Guest {
    name: &'static str,
    text: &'static str,
    param: i32,
    result: i64,
}

const GUESTS: [Guest; 4] = [
    Guest {
        name: "binary trees",
        text: include_str!("../../../guests/gc/binary_trees.wat"),
        param: 16,
        result: 14_723_759,
    },
    Guest {
        name: "splay tree",
        text: include_str!("../../../guests/gc/splay.wat"),
        param: 100_000,
        result: 24_638_938_720_243_616,
    },
    Guest {
        name: "string building",
        text: include_str!("../../../guests/gc/strings.wat"),
        param: 2000,
        result: 177_609_107_771_392,
    },
    Guest {
        name: "graph with cycles",
        text: include_str!("../../../guests/gc/graph.wat"),
        param: 100,
        result: 1_560_566_697_255,
    },
];

macro_rules! case {
    ($engine:ident, $guest:expr) => {{
        let guest = $guest;
        Case::prepared(stringify!($engine), "not configured", move || {
            use ::$engine::{Config, Engine, Instance, Module, Store};

            let mut config = Config::new();
            config.wasm_function_references(true);
            config.wasm_gc(true);
            let engine = Engine::new(&config).map_err(failed)?;
            let module = Module::new(&engine, guest.text).map_err(failed)?;
            Ok(timed(1, move || {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).map_err(failed)?;
                let run = instance.get_typed_func::<i32, i64>(&mut store, "run");
                let result = run.map_err(failed)?.call(&mut store, guest.param);
                ensure!(result.map_err(failed)? == guest.result, "wrong result");
                Ok(())
            }))
        })
    }};
}

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let count = lab.or_quick(GUESTS.len(), 1);
    let times = GUESTS[..count].iter().map(|guest| {
        let cases = vec![
            case!(cowling, *guest)
                .compared_with(1)
                .target(Target::Ratio(1.0 / 1.5)),
            case!(wasmtime, *guest),
        ];
        Table::new(guest.name, "run", cases).shown_as_line()
    });
    let pauses = GUESTS[..count].iter().map(|guest| {
        let figures = [
            ("longest pause", Unit::Nanoseconds),
            ("all pauses", Unit::Nanoseconds),
            ("collections", Unit::Count),
            ("heap", Unit::Bytes),
        ];
        let figures = figures.map(|(name, unit)| Quantity {
            name,
            unit,
            per: "run",
        });
        Table::of(guest.name, figures.to_vec(), vec![pauses(*guest)])
    });
    Ok(times.chain(pauses).collect())
}

/// What Cowling's collections cost in one run.
fn pauses(guest: Guest) -> Case {
    Case::prepared("cowling", "not configured", move || {
        use ::cowling::{Engine, Instance, Module, Store};

        let engine = Engine::default();
        let module = Module::new(&engine, guest.text)?;
        Ok(Box::new(move |_| {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let run = instance.get_typed_func::<i32, i64>(&mut store, "run")?;
            ensure!(
                run.call(&mut store, guest.param)? == guest.result,
                "wrong result"
            );
            let stats = store.gc_stats();
            Ok(vec![
                stats.longest_pause.as_nanos() as f64,
                stats.total_pause.as_nanos() as f64,
                stats.collections as f64,
                stats.heap_bytes as f64,
            ])
        }))
    })
}
