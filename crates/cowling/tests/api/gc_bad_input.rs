//! Guests that ask the heap for too much, or lie: traps or typed errors, memory that stays bounded, an end.

use crate::support::{assert_says, trap};
use cowling::*;

fn engine(heap: u64) -> Engine {
    let mut config = Config::new();
    config.gc_heap_reservation(heap);
    Engine::new(&config).unwrap()
}

fn instance(engine: &Engine, wat: &str) -> (Store<()>, Instance) {
    let mut store = Store::new(engine, ());
    let module = Module::new(engine, wat).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

fn call(store: &mut Store<()>, instance: &Instance, name: &str, param: i32) -> Result<i32> {
    let func = instance.get_typed_func::<i32, i32>(&mut *store, name)?;
    func.call(store, param)
}

const LISTS: &str = r#"(module
    (type $cell (struct (field $next (mut (ref null $cell)))))
    (type $bytes (array (mut i8)))
    (type $vectors (array (mut v128)))
    (type $arrays (array (mut (ref null $bytes))))
    (global $kept (mut (ref null $cell)) (ref.null $cell))
    (global $arrays (mut (ref null $arrays)) (ref.null $arrays))

    ;; Keeps a list of so many cells, or as many as fit if there are fewer.
    (func (export "keep") (param i32) (result i32)
        (loop $l
            (global.set $kept (struct.new $cell (global.get $kept)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.const 0))
    (func (export "release") (param i32) (result i32)
        (global.set $kept (ref.null $cell))
        (global.set $arrays (ref.null $arrays))
        (i32.const 0))
    (func (export "length") (param i32) (result i32)
        (local $c (ref null $cell)) (local $n i32)
        (local.set $c (global.get $kept))
        (block $end (loop $l
            (br_if $end (ref.is_null (local.get $c)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (local.set $c (struct.get $cell $next (local.get $c)))
            (br $l)))
        (local.get $n))
    ;; Rings of two, so many.
    (func (export "rings") (param i32) (result i32)
        (local $a (ref null $cell))
        (loop $l
            (local.set $a (struct.new $cell (ref.null $cell)))
            (struct.set $cell $next (local.get $a) (struct.new $cell (local.get $a)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.const 0))
    (func (export "arrays") (param i32) (result i32)
        (global.set $arrays (array.new_default $arrays (local.get 0)))
        (loop $l
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (array.set $arrays (global.get $arrays) (local.get 0) (array.new_default $bytes (i32.and (local.get 0) (i32.const 31))))
            (br_if $l (local.get 0)))
        (array.len (array.get $arrays (global.get $arrays) (i32.const 999999))))
    (func (export "bytes") (param i32) (result i32) (array.len (array.new_default $bytes (local.get 0))))
    (func (export "filled") (param i32) (result i32) (array.len (array.new $bytes (i32.const 1) (local.get 0))))
    (func (export "vectors") (param i32) (result i32) (array.len (array.new_default $vectors (local.get 0))))
    (func (export "copy") (param i32) (result i32)
        (local $a (ref null $bytes))
        (local.set $a (array.new_default $bytes (i32.const 10)))
        (array.copy $bytes $bytes (local.get $a) (i32.const 1) (local.get $a) (local.get 0) (i32.const 10))
        (i32.const 0))
    (func (export "fill") (param i32) (result i32)
        (array.fill $bytes (array.new_default $bytes (i32.const 10)) (local.get 0) (i32.const 1) (i32.const 2))
        (i32.const 0))
    (func (export "get") (param i32) (result i32)
        (array.get_u $bytes (array.new_default $bytes (i32.const 10)) (local.get 0)))
    (func (export "null") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (array.len (global.get $arrays)))
            (else (ref.is_null (struct.get $cell $next (global.get $kept))))))
    )"#;

#[test]
fn a_full_heap_is_a_trap_and_has_room_again_once_things_are_let_go() {
    let (mut store, instance) = instance(&engine(4 << 20), LISTS);
    for _ in 0..3 {
        let full = call(&mut store, &instance, "keep", i32::MAX).unwrap_err();
        assert_eq!(trap(&full), Trap::GcHeapOutOfMemory);
        let length = call(&mut store, &instance, "length", 0).unwrap();
        assert!(length > 200_000, "{length} cells of 16 bytes in 4 MiB");
        let stats = store.gc_stats();
        assert!(stats.heap_bytes <= 4 << 20, "{stats:?}");
        // Again and again at the limit.
        for _ in 0..20 {
            assert!(call(&mut store, &instance, "keep", 100_000).is_err());
        }
        call(&mut store, &instance, "release", 0).unwrap();
        call(&mut store, &instance, "keep", 100_000).unwrap();
        call(&mut store, &instance, "release", 0).unwrap();
    }
}

#[test]
fn cyclic_garbage_does_not_pile_up() {
    let (mut store, instance) = instance(&engine(2 << 20), LISTS);
    call(&mut store, &instance, "rings", 3_000_000).unwrap();
    assert!(store.gc_stats().collections > 40);
}

#[test]
fn a_list_of_ten_million_is_collected_on_any_stack() {
    let (mut store, instance) = instance(&engine(1 << 30), LISTS);
    call(&mut store, &instance, "keep", 10_000_000).unwrap();
    store.gc(None).unwrap();
    assert_eq!(store.gc_stats().live_bytes, 160_000_000);
    let length = call(&mut store, &instance, "length", 0).unwrap();
    assert_eq!(length, 10_000_000);
    call(&mut store, &instance, "release", 0).unwrap();
    store.gc(None).unwrap();
    assert_eq!(store.gc_stats().live_bytes, 0);
}

#[test]
fn a_million_live_arrays_stay_what_they_are() {
    let (mut store, instance) = instance(&engine(1 << 30), LISTS);
    let last = call(&mut store, &instance, "arrays", 1_000_000).unwrap();
    assert_eq!(last, 999_999 & 31);
    store.gc(None).unwrap();
    assert!(store.gc_stats().live_bytes > 24_000_000);
}

#[test]
fn arrays_beyond_any_heap_are_refused_whatever_their_size_wraps_to() {
    let (mut store, instance) = instance(&engine(1 << 20), LISTS);
    let too_large = [
        ("vectors", -1),
        ("vectors", 1 << 28),
        ("vectors", 1 << 27),
        ("bytes", -1),
        ("bytes", i32::MAX),
        ("filled", -8),
    ];
    for (name, len) in too_large {
        let error = call(&mut store, &instance, name, len).unwrap_err();
        assert_eq!(trap(&error), Trap::AllocationTooLarge, "{name} {len}");
    }
    for (name, len) in [
        ("bytes", 1 << 30),
        ("filled", 2 << 20),
        ("vectors", 1 << 17),
    ] {
        let error = call(&mut store, &instance, name, len).unwrap_err();
        assert_eq!(trap(&error), Trap::GcHeapOutOfMemory, "{name} {len}");
    }
    for (name, len) in [("bytes", 0), ("filled", 500_000), ("vectors", 50_000)] {
        assert_eq!(call(&mut store, &instance, name, len).unwrap(), len);
    }
    // And by the host.
    let engine = store.engine().clone();
    let element = FieldType::new(Mutability::Var, ValType::V128.into());
    let pre = ArrayRefPre::new(&mut store, ArrayType::new(&engine, element));
    let zero = Val::V128(V128::from(0u128));
    let error = ArrayRef::new(&mut store, &pre, &zero, u32::MAX).unwrap_err();
    assert_eq!(trap(&error), Trap::AllocationTooLarge);
    let error = ArrayRef::new(&mut store, &pre, &zero, 1 << 20).unwrap_err();
    let full = error.downcast_ref::<GcHeapOutOfMemory<()>>().unwrap();
    assert_eq!(full.bytes_needed(), 16 * ((1 << 20) + 1));
    store.gc(Some(full)).unwrap();
    assert!(ArrayRef::new(&mut store, &pre, &zero, 1000).is_ok());
}

#[test]
fn ranges_beyond_arrays_and_nulls_trap() {
    let (mut store, instance) = instance(&engine(1 << 20), LISTS);
    let cases = [
        ("copy", 0, Trap::ArrayOutOfBounds),
        ("copy", -1, Trap::ArrayOutOfBounds),
        ("fill", 9, Trap::ArrayOutOfBounds),
        ("fill", -1, Trap::ArrayOutOfBounds),
        ("get", 10, Trap::ArrayOutOfBounds),
        ("get", -1, Trap::ArrayOutOfBounds),
        ("get", i32::MIN, Trap::ArrayOutOfBounds),
        ("null", 0, Trap::NullReference),
        ("null", 1, Trap::NullReference),
    ];
    for (name, param, expected) in cases {
        let error = call(&mut store, &instance, name, param).unwrap_err();
        assert_eq!(trap(&error), expected, "{name} {param}");
        assert!(error.downcast_ref::<WasmBacktrace>().is_some());
    }
    assert_eq!(call(&mut store, &instance, "fill", 8).unwrap(), 0);
    assert_eq!(call(&mut store, &instance, "get", 9).unwrap(), 0);
}

/// Counts bytes, up to a limit; fails on request.
struct Limiter {
    asked: usize,
    most: usize,
    fail: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.asked += 1;
        assert!(maximum.is_some_and(|maximum| desired <= maximum));
        if self.fail && desired > 2 << 20 {
            bail!("the limiter has had enough");
        }
        Ok(desired <= self.most)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}

#[test]
fn the_limiter_is_asked_before_the_heap_grows() {
    let engine = engine(1 << 30);
    let module = Module::new(&engine, LISTS).unwrap();
    for fail in [false, true] {
        let limiter = Limiter {
            asked: 0,
            most: 8 << 20,
            fail,
        };
        let mut store = Store::new(&engine, limiter);
        store.limiter(|limiter| limiter);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let keep = instance
            .get_typed_func::<i32, i32>(&mut store, "keep")
            .unwrap();
        let error = keep.call(&mut store, i32::MAX).unwrap_err();
        if fail {
            assert_says(&error, &["the limiter has had enough"]);
        } else {
            assert_eq!(trap(&error), Trap::GcHeapOutOfMemory);
            assert!(store.gc_stats().heap_bytes > 4 << 20);
        }
        assert!(store.gc_stats().heap_bytes <= 8 << 20);
        assert!(store.data().asked > 1);
    }
    let limiter = Limiter {
        asked: 0,
        most: 0,
        fail: false,
    };
    let mut store = Store::new(&engine, limiter);
    store.limiter(|limiter| limiter);
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_says(&error, &["GC heap", "limiter does not allow it"]);
}

#[test]
fn a_killed_guest_leaves_a_heap_that_works() {
    let engine = engine(8 << 20);
    let (mut store, instance) = instance(&engine, LISTS);
    for round in 0..20 {
        let killer = store.kill_switch();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2 + round % 7));
            killer.terminate()
        });
        let result = call(&mut store, &instance, "rings", i32::MAX);
        assert!(result.is_err());
        thread.join().unwrap().unwrap();
        call(&mut store, &instance, "keep", 1000).unwrap();
        store.gc(None).unwrap();
    }
    assert_eq!(call(&mut store, &instance, "length", 0).unwrap(), 20_000);
}

#[test]
fn pools_limit_how_many_heaps_there_are() {
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_gc_heaps(2).max_memory_size(1 << 20);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, LISTS).unwrap();
    for _ in 0..3 {
        let mut stores: Vec<_> = (0..3).map(|_| Store::new(&engine, ())).collect();
        let first = Instance::new(&mut stores[0], &module, &[]).unwrap();
        Instance::new(&mut stores[1], &module, &[]).unwrap();
        let error = Instance::new(&mut stores[2], &module, &[]).unwrap_err();
        assert_says(&error, &["the pool's limit of 2 GC heaps is reached"]);
        let full = call(&mut stores[0], &first, "keep", i32::MAX).unwrap_err();
        assert_eq!(trap(&full), Trap::GcHeapOutOfMemory);
        assert!(stores[0].gc_stats().heap_bytes <= 1 << 20);
    }
}

#[test]
fn what_could_not_be_filled_gives_its_slot_back() {
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_core_instances(5);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    let engine = Engine::new(&config).unwrap();
    let module = |length: &str| {
        let text = format!(
            r#"(module (import "" "n" (global $n i32)) (memory 1)
                (type $a (array (mut i64))) (type $s (struct (field i32)))
                (global $first (ref $s) (struct.new $s (i32.const 7)))
                (table $t 3 (ref null $s) (struct.new $s (i32.const 8)))
                (elem (ref null $s) (item (struct.new $s (i32.const 9))))
                (global $array (ref $a) (array.new_default $a {length}))
                (func (export "first") (param i32) (result i32) (struct.get $s 0 (global.get $first)))
                (func (export "length") (param i32) (result i32) (array.len (global.get $array))))"#
        );
        Module::new(&engine, text).unwrap()
    };
    let instantiate = |module: &Module, length: i32| {
        let mut store = Store::new(&engine, ());
        let ty = GlobalType::new(ValType::I32, Mutability::Const);
        let global = Global::new(&mut store, ty, Val::I32(length)).unwrap();
        let instance = Instance::new(&mut store, module, &[global.into()]);
        store.gc(None).unwrap();
        let instance = instance?;
        assert_eq!(call(&mut store, &instance, "first", 0).unwrap(), 7);
        let found = call(&mut store, &instance, "length", 0).unwrap();
        assert_eq!(found, length);
        Ok::<_, Error>(())
    };
    let (never, as_told) = (module("(i32.const 0x7fffffff)"), module("(global.get $n)"));
    for _ in 0..20 {
        assert!(instantiate(&never, 0).is_err());
        // With a slot that has been filled before, too.
        instantiate(&as_told, 10).unwrap();
        assert!(instantiate(&as_told, i32::MAX).is_err());
    }
    assert_eq!(engine.pool_metrics().used, 0);
}

#[test]
fn a_heap_that_may_not_even_begin_stays_whole() {
    let engine = engine(8 << 20);
    let module = Module::new(&engine, LISTS).unwrap();
    let limits = || StoreLimitsBuilder::new().memory_size(1000).build();
    let ty = StructType::new(&engine, []).unwrap();
    let mut store = Store::new(&engine, limits());
    store.limiter(|limits| limits);
    let pre = StructRefPre::new(&mut store, ty);
    for _ in 0..600 {
        assert!(StructRef::new(&mut store, &pre, &[]).is_err());
    }
    for _ in 0..600 {
        let mut store = Store::new(&engine, limits());
        store.limiter(|limits| limits);
        assert!(Instance::new(&mut store, &module, &[]).is_err());
    }
}
