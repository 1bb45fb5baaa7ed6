//! Nothing of one guest is visible to the next, however it ended.

use crate::sink::{Act, Dirt, SHAPES, Shape, call, dirty, examine, linker, pre};
use crate::support::{
    Item, Life, SETUPS, Setup, Snapshot, assert_same, assert_same_bytes, poll_once, store, traffic,
};
use cowling::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

const EXAMINED: Life = 77;
const DIRTY: Life = 13;

const DIRTS: [Dirt; 3] = [Dirt::Sparse, Dirt::All, Dirt::Grown];

type Ending = (&'static str, fn(&mut Store<Life>, Instance));

fn fails(store: &mut Store<Life>, instance: Instance, name: &str, params: &[Val], says: &str) {
    let error = call(store, instance, name, params).unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains(says), "{message}");
}

fn act(store: &mut Store<Life>, instance: Instance, act: Act) -> Result<()> {
    call(store, instance, "act", &[Val::I32(act as i32)])
}

/// Every way a guest in a store ends.
const ENDINGS: &[Ending] = &[
    ("returns", |_, _| {}),
    ("unreachable", |store, instance| {
        fails(store, instance, "unreachable", &[], "unreachable");
    }),
    ("out of bounds", |store, instance| {
        fails(store, instance, "out_of_bounds", &[], "table");
    }),
    ("stack overflow", |store, instance| {
        let depth = [Val::I32(i32::MAX)];
        fails(store, instance, "recurse", &depth, "call stack exhausted");
    }),
    ("deep recursion", |store, instance| {
        call(store, instance, "recurse", &[Val::I32(3000)]).unwrap();
    }),
    ("host function with a large buffer", |store, instance| {
        act(store, instance, Act::Stack).unwrap();
    }),
    ("killed while it spins", |store, instance| {
        store.set_timeout(Duration::from_millis(1)).unwrap();
        fails(store, instance, "spin", &[], "interrupt");
    }),
    ("killed by another thread", |store, instance| {
        let switch = store.kill_switch();
        std::thread::scope(|scope| {
            scope.spawn(move || switch.terminate().unwrap());
            fails(store, instance, "spin", &[], "interrupt");
        });
    }),
    ("host function fails", |store, instance| {
        let error = act(store, instance, Act::Fail).unwrap_err();
        assert_eq!(error.root_cause().to_string(), "host function failed");
    }),
    ("host function panics", |store, instance| {
        let acts = AssertUnwindSafe(|| act(store, instance, Act::Panic));
        assert!(catch_unwind(acts).is_err());
    }),
    ("future dropped while it waits", |store, instance| {
        let wait = instance.get_func(&mut *store, "wait").unwrap();
        let mut call = pin!(wait.call_async(store, &[], &mut []));
        assert!(poll_once(call.as_mut()).is_pending());
    }),
    ("future dropped before it begins", |store, instance| {
        let wait = instance.get_func(&mut *store, "wait").unwrap();
        drop(wait.call_async(store, &[], &mut []));
    }),
];

fn expected(setup: &Setup, shape: &Shape) -> Vec<Snapshot> {
    let engine = setup.engine();
    let mut store = store(&engine, EXAMINED);
    let instance = pre(&engine, shape).instantiate(&mut store).unwrap();
    let found = examine(&mut store, instance);
    let memories = found[0].iter().filter_map(|(_, item)| match item {
        Item::Memory(bytes) => Some(bytes),
        _ => None,
    });
    for (found, expected) in memories.zip(shape.contents()) {
        assert_same_bytes(found, &expected, shape.name);
    }
    assert_eq!(traffic(engine.pool_metrics()), (0, 1));
    found
}

/// Lets guests end in stores, and examines what comes after each.
fn stores_are_isolated(setup: &Setup, shape: &Shape, dirts: &[Dirt], endings: &[Ending]) {
    let expected = expected(setup, shape);
    let engine = setup.engine();
    let pre = pre(&engine, shape);
    let mut lives = 0;
    for dirt in dirts {
        for (ending, end) in endings {
            let context = format!("{}, {}, {dirt:?}, {ending}", setup.name, shape.name);
            {
                let mut store = store(&engine, DIRTY);
                let instance = pre.instantiate(&mut store).unwrap();
                dirty(&mut store, instance, *dirt);
                end(&mut store, instance);
            }
            let mut store = store(&engine, EXAMINED);
            let instance = pre.instantiate(&mut store).unwrap();
            assert_same(&examine(&mut store, instance), &expected, &context);
            lives += 2;
        }
    }
    if !setup.moves || shape.memories.is_empty() {
        let name = (setup.name, shape.name);
        assert_eq!(traffic(engine.pool_metrics()), (lives - 1, 1), "{name:?}");
    }
    assert_eq!(engine.pool_metrics().used, 0);
}

fn shape(name: &str) -> &'static Shape {
    SHAPES.iter().find(|shape| shape.name == name).unwrap()
}

#[test]
fn a_guest_sees_nothing_of_one_that_ended_in_any_way() {
    for setup in SETUPS {
        stores_are_isolated(setup, shape("large image"), &[Dirt::All], ENDINGS);
        stores_are_isolated(setup, shape("small image"), &[Dirt::Sparse], ENDINGS);
    }
}

#[test]
fn memories_of_every_shape_are_as_new() {
    for setup in SETUPS {
        for shape in SHAPES {
            stores_are_isolated(setup, shape, &DIRTS, &ENDINGS[..1]);
        }
    }
}

#[test]
fn memories_of_every_shape_are_as_new_after_many_lives_too() {
    // A slot's first lives end otherwise than later ones.
    for shape in SHAPES {
        stores_are_isolated(&SETUPS[0], shape, &DIRTS.repeat(4), &ENDINGS[..1]);
    }
}

#[test]
fn a_module_sees_nothing_of_one_whose_slot_left_it_its_space() {
    for setup in SETUPS.iter().filter(|setup| !setup.moves) {
        let engine = setup.engine();
        let modules = SHAPES.iter().map(|shape| {
            let module = Module::new(&engine, shape.wat()).unwrap();
            (module, expected(setup, shape), shape.name)
        });
        let modules: Vec<_> = modules.collect();
        for dirt in DIRTS {
            // After each shape each other one.
            for step in 1..SHAPES.len() {
                for place in 0..SHAPES.len() {
                    let (module, expected, name) = &modules[(place * step) % SHAPES.len()];
                    let mut store = store(&engine, EXAMINED);
                    // Nobody has these host functions any more when the store goes, so no other instance can have the slot as it is.
                    let pre = linker(&engine).instantiate_pre(module).unwrap();
                    let instance = pre.instantiate(&mut store).unwrap();
                    drop(pre);
                    let context = format!("{}, {name}, {dirt:?}", setup.name);
                    assert_same(&examine(&mut store, instance), expected, &context);
                    *store.data_mut() = DIRTY;
                    dirty(&mut store, instance, dirt);
                }
            }
        }
        let metrics = engine.pool_metrics();
        assert_eq!((metrics.reused, metrics.slots), (0, 0), "{}", setup.name);
        assert!(metrics.refitted > metrics.mapped, "{metrics:?}");
    }
}

#[test]
fn a_module_of_another_shape_gets_a_slot_as_new() {
    // There is room for one slot: each module takes it from the other.
    for setup in SETUPS {
        let mut config = Config::new();
        (setup.config)(&mut config);
        let pooling = crate::support::pooling().total_core_instances(1).clone();
        config.allocation_strategy(pooling);
        let engine = Engine::new(&config).unwrap();
        let guests = ["large image", "no image", "three memories", "no memory"].map(|name| {
            let shape = shape(name);
            (pre(&engine, shape), expected(setup, shape), name)
        });
        for dirt in DIRTS {
            for (pre, expected, name) in &guests {
                {
                    let mut store = store(&engine, DIRTY);
                    let instance = pre.instantiate(&mut store).unwrap();
                    dirty(&mut store, instance, dirt);
                }
                let mut store = store(&engine, EXAMINED);
                let instance = pre.instantiate(&mut store).unwrap();
                let context = format!("{}, {name}", setup.name);
                assert_same(&examine(&mut store, instance), expected, &context);
                assert_eq!(engine.pool_metrics().slots, 1);
            }
        }
    }
}

#[test]
fn several_instances_of_a_store_are_all_repaired() {
    for setup in SETUPS.iter().filter(|setup| !setup.moves) {
        let engine = setup.engine();
        let guests = ["large image", "no image", "three memories", "large image"].map(|name| {
            let shape = shape(name);
            (pre(&engine, shape), expected(setup, shape), name)
        });
        for round in 0..4 {
            let dirt = DIRTS[round % 3];
            let mut store = store(&engine, EXAMINED);
            let instances: Vec<_> = (guests.iter())
                .map(|(pre, ..)| pre.instantiate(&mut store).unwrap())
                .collect();
            for (instance, (_, expected, name)) in instances.iter().zip(&guests) {
                let context = format!("{}, {name}, round {round}", setup.name);
                assert_same(&examine(&mut store, *instance), expected, &context);
                dirty(&mut store, *instance, dirt);
            }
        }
        assert_eq!(
            traffic(engine.pool_metrics()),
            (3 * guests.len() as u64, guests.len() as u64),
            "{}",
            setup.name
        );
    }
}

// --- guests ---

type GuestEnding = (&'static str, fn(&mut Guest<Life>));

fn guest_act(guest: &mut Guest<Life>, act: Act) -> Result<RunResult, GuestError> {
    guest.run("act", &[Val::I32(act as i32)])
}

/// Every way a guest of a region ends.
const GUEST_ENDINGS: &[GuestEnding] = &[
    ("returns", |guest| {
        guest_act(guest, Act::Nothing).unwrap();
    }),
    ("faults", |guest| {
        assert!(guest.run("unreachable", &[]).is_err());
        assert!(guest.is_faulted());
    }),
    ("yields", |guest| {
        guest_act(guest, Act::Yield).unwrap();
        assert!(guest.is_yielded());
    }),
    ("yields and is killed", |guest| {
        let switch = guest.kill_switch();
        guest_act(guest, Act::Yield).unwrap();
        assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
    }),
    ("yields, is killed and resumed", |guest| {
        let switch = guest.kill_switch();
        guest_act(guest, Act::Yield).unwrap();
        assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
        assert!(guest.resume().is_err());
        assert!(guest.is_terminated());
    }),
    ("is preempted", |guest| {
        guest.set_quantum(Some(Duration::from_millis(1))).unwrap();
        assert!(matches!(guest.run("spin", &[]), Ok(RunResult::Preempted)));
    }),
    ("is preempted and killed", |guest| {
        let switch = guest.kill_switch();
        guest.set_quantum(Some(Duration::from_millis(1))).unwrap();
        assert!(matches!(guest.run("spin", &[]), Ok(RunResult::Preempted)));
        assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
        assert!(guest.resume().is_err());
    }),
    ("runs for too long", |guest| {
        let short = Duration::from_millis(1);
        assert!(guest.run_for(short, "spin", &[]).is_err());
    }),
    ("is terminated by a host function", |guest| {
        assert!(guest_act(guest, Act::Terminate).is_err());
        assert!(guest.is_terminated());
    }),
    ("host function fails", |guest| {
        assert!(guest_act(guest, Act::Fail).is_err());
    }),
    ("host function panics", |guest| {
        assert!(guest_act(guest, Act::Panic).is_err());
    }),
    ("awaits", |guest| {
        let mut run = pin!(guest.run_async("wait", &[], None));
        assert!(poll_once(run.as_mut()).is_pending());
    }),
    ("uses much stack", |guest| {
        guest_act(guest, Act::Stack).unwrap();
        assert!(guest.run("recurse", &[Val::I32(i32::MAX)]).is_err());
    }),
];

fn region(keep_resident: Option<usize>) -> Region {
    let mut builder = Region::builder().slots(2);
    if let Some(bytes) = keep_resident {
        builder = builder.keep_resident(bytes);
    }
    builder.address_space(64 << 30).build().unwrap()
}

fn guests_are_isolated(setup: &Setup, shape: &Shape, region: &Region, reset: bool) {
    let expected = expected(setup, shape);
    let engine = setup.engine();
    let pre = pre(&engine, shape);
    let mut lives = 0;
    for (ending, end) in GUEST_ENDINGS {
        let context = format!("{}, {}, {ending}, reset: {reset}", setup.name, shape.name);
        let mut guest = region.guest(&pre, DIRTY).build().unwrap();
        let instance = guest.instance().unwrap();
        dirty(&mut guest, instance, DIRTS[lives as usize % 3]);
        end(&mut guest);
        if reset {
            guest.reset().unwrap();
            *guest.data_mut() = EXAMINED;
        } else {
            drop(guest);
            guest = region.guest(&pre, EXAMINED).build().unwrap();
        }
        let instance = guest.instance().unwrap();
        assert_same(&examine(&mut guest, instance), &expected, &context);
        lives += 2;
    }
    if !setup.moves {
        assert_eq!(traffic(region.metrics()), (lives - 1, 1), "{}", setup.name);
    }
}

#[test]
fn guests_of_a_region_see_nothing_of_each_other() {
    for setup in SETUPS {
        for name in ["large image", "small image elsewhere"] {
            guests_are_isolated(setup, shape(name), &region(None), false);
        }
    }
}

#[test]
fn a_guest_that_was_reset_sees_nothing_of_what_it_was() {
    for setup in SETUPS {
        guests_are_isolated(setup, shape("large image"), &region(None), true);
    }
}

#[test]
fn regions_that_keep_little_resident_repair_as_well() {
    for keep in [0, 4096, 8 << 10, 100 << 10, 1 << 30] {
        for shape in SHAPES {
            let region = region(Some(keep));
            guests_are_isolated(&SETUPS[0], shape, &region, keep == 4096);
        }
    }
}
