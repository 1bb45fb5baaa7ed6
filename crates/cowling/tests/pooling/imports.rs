//! The same slot with other imports: host functions, functions of other instances, memories, tables, globals.

use crate::support::{Life, SETUPS, Snapshot, assert_same, snapshot, store, traffic};
use cowling::*;

/// Reaches its imported function in every way there is.
const CALLER: &str = r#"(module
    (import "host" "who" (func $who (result i32)))
    (import "host" "data" (func $data (result i32)))
    (memory (export "memory") 1)
    (table (export "table") 4 funcref) (elem (i32.const 0) $who $own $data)
    (global (export "global") (mut funcref) (ref.func $who))
    (export "who" (func $who))
    (func $own (export "own") (result i32) (call $who))
    (func (export "tail") (result i32) (call $data))
    (func (export "indirect") (result i32) (call_indirect (result i32) (i32.const 0)))
    (func (export "set") (table.set (i32.const 3) (ref.func $who)))
    (func (export "third") (result i32) (call_indirect (result i32) (i32.const 3))))"#;

/// Another module's function to import.
const OTHER: &str = r#"(module
    (global $n (mut i32) (i32.const 40))
    (func (export "who") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 0))) (i32.add (global.get $n) (i32.const 5)))
    (func (export "data") (result i32) (i32.const 46)))"#;

/// A way to give a module its imports; each is known by what `who` returns then.
#[derive(Copy, Clone, Debug)]
enum Given {
    PreA,
    PreB,
    Linker,
    HostFunctions,
    OtherInstance,
    LinkerWithInstance,
    OtherData,
    Guest,
}

use Given::*;

const ALL: [Given; 8] = [
    PreA,
    PreB,
    Linker,
    HostFunctions,
    OtherInstance,
    LinkerWithInstance,
    OtherData,
    Guest,
];

struct Maker {
    engine: Engine,
    module: Module,
    other: Module,
    a: InstancePre<Life>,
    b: InstancePre<Life>,
    linker: cowling::Linker<Life>,
    /// Of stores with data of another type.
    c: InstancePre<String>,
}

fn linker(engine: &Engine, who: i32) -> cowling::Linker<Life> {
    let mut linker = cowling::Linker::new(engine);
    linker.func_wrap("host", "who", move || who).unwrap();
    let data = |caller: Caller<'_, Life>| *caller.data();
    linker.func_wrap("host", "data", data).unwrap();
    linker
}

fn check(mut store: impl AsContextMut, instance: Instance, [who, data]: [i32; 2], context: &str) {
    let expected = [
        ("who", who),
        ("own", who),
        ("indirect", who),
        ("tail", data),
        ("third", who),
    ];
    let set = instance
        .get_typed_func::<(), ()>(&mut store, "set")
        .unwrap();
    set.call(&mut store, ()).unwrap();
    for (name, expected) in expected {
        let func = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        let found = func.call(&mut store, ()).unwrap();
        assert_eq!(found, expected, "{context}: {name}");
    }
    let table = instance.get_table(&mut store, "table").unwrap();
    for (place, expected) in [(0, who), (1, who), (2, data), (3, who)] {
        let Some(Ref::Func(Some(func))) = table.get(&mut store, place) else {
            panic!("{context}: no element {place}");
        };
        let func = func.typed::<(), i32>(&store).unwrap();
        let found = func.call(&mut store, ()).unwrap();
        assert_eq!(found, expected, "{context}: element {place}");
    }
    let global = instance.get_global(&mut store, "global").unwrap();
    let Val::FuncRef(Some(func)) = global.get(&mut store) else {
        panic!("{context}: no function in the global");
    };
    let func = func.typed::<(), i32>(&store).unwrap();
    assert_eq!(func.call(&mut store, ()).unwrap(), who, "{context}: global");
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let bytes = memory.data_mut(store.as_context_mut());
    assert!(bytes.iter().all(|byte| *byte == 0), "{context}");
    bytes.fill(0xee);
    let null = Val::FuncRef(None);
    global.set(&mut store, null).unwrap();
    table.fill(&mut store, 0, Ref::Func(None), 4).unwrap();
}

/// Looks at the functions of the table, and does nothing else.
fn glance(mut store: impl AsContextMut, instance: Instance) {
    let table = instance.get_table(&mut store, "table").unwrap();
    for place in 0..3 {
        let element = table.get(&mut store, place);
        assert!(matches!(element, Some(Ref::Func(Some(_)))), "{element:?}");
    }
}

/// What is done with an instance.
#[derive(Copy, Clone, PartialEq)]
enum Use {
    Nothing,
    Glance,
    Check,
}

fn make_use(
    store: impl AsContextMut,
    instance: Instance,
    of: Use,
    expected: [i32; 2],
    context: &str,
) {
    match of {
        Use::Nothing => {}
        Use::Glance => glance(store, instance),
        Use::Check => check(store, instance, expected, context),
    }
}

impl Maker {
    fn new(engine: Engine) -> Maker {
        let module = Module::new(&engine, CALLER).unwrap();
        let pre = |who| linker(&engine, who).instantiate_pre(&module).unwrap();
        let mut strings = cowling::Linker::<String>::new(&engine);
        let data = |caller: Caller<'_, String>| caller.data().len() as i32;
        strings.func_wrap("host", "data", data).unwrap();
        strings.func_wrap("host", "who", || 7).unwrap();
        Maker {
            a: pre(1),
            b: pre(2),
            c: strings.instantiate_pre(&module).unwrap(),
            linker: linker(&engine, 3),
            other: Module::new(&engine, OTHER).unwrap(),
            module,
            engine,
        }
    }

    fn live(&self, given: Given, of: Use, life: Life, region: &Region, context: &str) {
        let mut store = store(&self.engine, life);
        // In every store, so that the slot it shares with the others is one without a stack each time.
        let other = Instance::new(&mut store, &self.other, &[]).unwrap();
        let (instance, who, data) = match given {
            PreA => (self.a.instantiate(&mut store), 1, life),
            PreB => (self.b.instantiate(&mut store), 2, life),
            Linker => {
                let linker = &self.linker;
                (linker.instantiate(&mut store, &self.module), 3, life)
            }
            HostFunctions => {
                let who = Func::wrap(&mut store, move || 4);
                let data = |caller: Caller<'_, Life>| *caller.data();
                let data = Func::wrap(&mut store, data);
                let imports = [who.into(), data.into()];
                let instance = Instance::new(&mut store, &self.module, &imports);
                (instance, 4, life)
            }
            OtherInstance => {
                let who = other.get_export(&mut store, "who").unwrap();
                let data = other.get_export(&mut store, "data").unwrap();
                let instance = Instance::new(&mut store, &self.module, &[who, data]);
                (instance, 45, 46)
            }
            LinkerWithInstance => {
                let mut linker = cowling::Linker::new(&self.engine);
                linker.instance(&mut store, "host", other).unwrap();
                (linker.instantiate(&mut store, &self.module), 45, 46)
            }
            OtherData => {
                let mut store = crate::support::store(&self.engine, "x".repeat(life as usize));
                Instance::new(&mut store, &self.other, &[]).unwrap();
                let instance = self.c.instantiate(&mut store).unwrap();
                return make_use(&mut store, instance, of, [7, life], context);
            }
            Guest => {
                let mut guest = region.guest(&self.a, life).build().unwrap();
                let instance = guest.instance().unwrap();
                return make_use(&mut guest, instance, of, [1, life], context);
            }
        };
        make_use(&mut store, instance.unwrap(), of, [who, data], context);
    }
}

#[test]
fn each_life_of_a_slot_calls_its_own_host_functions_with_its_own_data() {
    for setup in SETUPS {
        let maker = Maker::new(setup.engine());
        let region = Region::builder().slots(1).build().unwrap();
        let mut life = 100;
        for first in ALL {
            for second in ALL {
                let context = format!("{}, {second:?} after {first:?}", setup.name);
                for of in [Use::Check, Use::Glance, Use::Nothing] {
                    maker.live(first, of, life, &region, &context);
                    maker.live(second, Use::Check, life + 1, &region, &context);
                    life += 2;
                }
            }
        }
        assert_eq!(region.metrics().mapped, 1, "{}", setup.name);
        // One for this module, two for the other: one life has two stores.
        assert_eq!(maker.engine.pool_metrics().mapped, 3, "{}", setup.name);
    }
}

#[test]
fn imports_of_instances_that_live_at_the_same_time_do_not_mix() {
    let maker = Maker::new(Engine::default());
    for round in 0..5 {
        let mut stores: Vec<_> = (0..8)
            .map(|n| store(&maker.engine, 100 * round + n))
            .collect();
        // So that slots come to stores that are elsewhere than those they had before.
        if round % 2 == 0 {
            stores.reverse();
        }
        let mut lives: Vec<_> = (stores.into_iter())
            .map(|mut store| {
                // At first they all have the same imports.
                let which = if round < 3 { 0 } else { *store.data() % 2 };
                let pre = if which == 0 { &maker.a } else { &maker.b };
                let instance = pre.instantiate(&mut store).unwrap();
                (store, instance, 1 + which)
            })
            .collect();
        // Those that are dropped are not in the order in which they were made.
        lives.rotate_left(round as usize);
        for (mut store, instance, who) in lives {
            let data = *store.data();
            check(&mut store, instance, [who, data], "together");
        }
    }
    assert_eq!(maker.engine.pool_metrics().mapped, 8);
}

/// Makes what others import, with contents of its own.
const EXPORTER: &str = r#"(module
    (memory (export "memory") 2 4) (data (i32.const 10) "of the exporter") (data $later "later")
    (table (export "table") 6 10 funcref) (elem (i32.const 1) $one $two)
    (global (export "mutable") (mut i64) (i64.const 11))
    (global (export "offset") i32 (i32.const 70000))
    (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
    (func (export "later") (memory.init $later (i32.const 0) (i32.const 0) (i32.const 5)) (data.drop $later)))"#;

/// Imports it, has segments for it, and changes it.
const IMPORTER: &str = r#"(module
    (import "x" "memory" (memory $memory 1)) (import "x" "table" (table $table 4 funcref))
    (import "x" "mutable" (global $mutable (mut i64))) (import "x" "offset" (global $offset i32))
    (memory $own (export "own") 2 3)
    (export "memory" (memory $memory)) (export "table" (table $table)) (export "mutable" (global $mutable))
    (global (export "computed") (mut i32) (i32.add (global.get $offset) (i32.const 1)))
    (data (memory $own) (global.get $offset) "placed")
    (data (memory $memory) (global.get $offset) "of the importer")
    (data $passive "passive")
    (elem (table $table) (i32.const 3) func $three)
    (elem $functions func $three $three)
    (func $three (result i32) (i32.const 3))
    (func (export "use") (memory.init $own $passive (i32.const 0) (i32.const 0) (i32.const 7))
        (table.init $table $functions (i32.const 0) (i32.const 0) (i32.const 1)))
    (func (export "dirty")
        (drop (memory.grow $memory (i32.const 1))) (drop (memory.grow $own (i32.const 1)))
        (drop (table.grow $table (ref.func $three) (i32.const 3)))
        (memory.fill $memory (i32.const 0) (i32.const 0xa5) (i32.mul (memory.size $memory) (i32.const 65536)))
        (memory.fill $own (i32.const 0) (i32.const 0xa5) (i32.mul (memory.size $own) (i32.const 65536)))
        (table.fill $table (i32.const 0) (ref.func $three) (table.size $table))
        (global.set $mutable (i64.const -1))
        (data.drop $passive) (elem.drop $functions)))"#;

/// Who makes what is imported.
#[derive(Copy, Clone, Debug, PartialEq)]
enum From {
    Instance,
    Host(i32),
}

fn linked(engine: &Engine, modules: &[Module; 2], from: From, dirty: bool) -> Vec<Snapshot> {
    let mut store = store(engine, 0);
    let (mut found, mut instances) = (Vec::new(), Vec::new());
    let imports: Vec<Extern> = match from {
        From::Instance => {
            let instance = Instance::new(&mut store, &modules[0], &[]).unwrap();
            instances.push(instance);
            found.push(snapshot(&mut store, instance));
            ["memory", "table", "mutable", "offset"]
                .map(|name| instance.get_export(&mut store, name).unwrap())
                .into()
        }
        From::Host(offset) => {
            let global = |ty, mutability| GlobalType::new(ty, mutability);
            let table = TableType::new(RefType::FUNCREF, 5, None);
            let mutable = global(ValType::I64, Mutability::Var);
            let constant = global(ValType::I32, Mutability::Const);
            vec![
                Memory::new(&mut store, MemoryType::new(2, None))
                    .unwrap()
                    .into(),
                Table::new(&mut store, table, Ref::Func(None))
                    .unwrap()
                    .into(),
                Global::new(&mut store, mutable, Val::I64(5))
                    .unwrap()
                    .into(),
                Global::new(&mut store, constant, Val::I32(offset))
                    .unwrap()
                    .into(),
            ]
        }
    };
    let importer = Instance::new(&mut store, &modules[1], &imports).unwrap();
    found.push(snapshot(&mut store, importer));
    let call = |store: &mut Store<Life>, instance: Instance, name| {
        let func = instance.get_typed_func::<(), ()>(&mut *store, name);
        func.unwrap().call(&mut *store, ()).unwrap();
    };
    call(&mut store, importer, "use");
    instances
        .iter()
        .for_each(|instance| call(&mut store, *instance, "later"));
    found.push(snapshot(&mut store, importer));
    if dirty {
        call(&mut store, importer, "dirty");
    }
    found
}

#[test]
fn what_instances_share_within_a_store_is_as_new_in_the_next() {
    const FROM: [From; 3] = [From::Instance, From::Host(66_000), From::Host(80_001)];
    for setup in SETUPS {
        let load =
            |engine: &Engine| [EXPORTER, IMPORTER].map(|text| Module::new(engine, text).unwrap());
        let expected = FROM.map(|from| {
            let engine = setup.engine();
            linked(&engine, &load(&engine), from, false)
        });
        let engine = setup.engine();
        let modules = load(&engine);
        for first in FROM {
            for (second, expected) in FROM.into_iter().zip(&expected) {
                let context = format!("{}, {second:?} after {first:?}", setup.name);
                linked(&engine, &modules, first, true);
                let found = linked(&engine, &modules, second, false);
                assert_same(&found, expected, &context);
            }
        }
        // What comes first in a store has its stack, so there is a slot of the importer of each kind.
        if !setup.moves {
            let (_, mapped) = traffic(engine.pool_metrics());
            assert_eq!(mapped, 3, "{}", setup.name);
        }
    }
}
