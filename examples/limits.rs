//! What a guest may have: memory, tables, instances, stack, objects.
//!
//! ```sh
//! cargo run --example limits
//! ```

use cowling::{
    Config, Engine, Instance, Module, ResourceLimiter, Result, Store, StoreLimits,
    StoreLimitsBuilder, Trap,
};

// ANCHOR: guest
/// Takes whatever it can get.
const GUEST: &str = r#"(module
    (type $node (struct (field (ref null $node)) (field i64)))
    (memory (export "memory") 1)
    (table $table 1 funcref)
    (global $list (mut (ref null $node)) (ref.null $node))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_table") (param i32) (result i32) (table.grow $table (ref.null func) (local.get 0)))
    (func $dive (export "dive") (result i32) (i32.add (i32.const 1) (call $dive)))
    (func (export "hoard")
        (loop $more
            (global.set $list (struct.new $node (global.get $list) (i64.const 1)))
            (br $more))))"#;
// ANCHOR_END: guest

const MIB: usize = 1 << 20;

// ANCHOR: own
/// A budget that all memories and heaps of a store share.
struct Budget {
    left: usize,
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let Some(left) = self.left.checked_sub(desired - current) else {
            return Ok(false);
        };
        self.left = left;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= 1000)
    }
}
// ANCHOR_END: own

fn main() -> Result<()> {
    // ANCHOR: config
    let mut config = Config::new();
    config.max_wasm_stack(256 << 10);
    let engine = Engine::new(&config)?;
    // ANCHOR_END: config
    let module = Module::new(&engine, GUEST)?;

    // ANCHOR: limits
    let limits = StoreLimitsBuilder::new()
        .memory_size(10 * MIB)
        .table_elements(100)
        .instances(1)
        .build();
    let mut store: Store<StoreLimits> = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    // ANCHOR_END: limits

    // ANCHOR: grow
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    println!("100 pages more: {}", grow.call(&mut store, 100)?);
    println!("1000 pages more: {}", grow.call(&mut store, 1000)?);
    let grow_table = instance.get_typed_func::<i32, i32>(&mut store, "grow_table")?;
    println!("1000 elements more: {}", grow_table.call(&mut store, 1000)?);
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    println!("another instance: {error:#}");
    // ANCHOR_END: grow

    // ANCHOR: stack
    let dive = instance.get_typed_func::<(), i32>(&mut store, "dive")?;
    let error = dive.call(&mut store, ()).unwrap_err();
    println!(
        "a dive: {}",
        error.downcast_ref::<Trap>().expect("it trapped")
    );
    println!("the guest is well: {}", grow.call(&mut store, 0)?);
    // ANCHOR_END: stack

    // ANCHOR: trap
    let limits = StoreLimitsBuilder::new()
        .memory_size(10 * MIB)
        .trap_on_grow_failure(true)
        .build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    let error = grow.call(&mut store, 1000).unwrap_err();
    println!("with trap_on_grow_failure: {}", error.root_cause());
    // ANCHOR_END: trap

    // ANCHOR: budget
    let mut store = Store::new(&engine, Budget { left: 20 * MIB });
    store.limiter(|budget| budget);
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    println!("grown from {} page", grow.call(&mut store, 100)?);
    let hoard = instance.get_typed_func::<(), ()>(&mut store, "hoard")?;
    let error = hoard.call(&mut store, ()).unwrap_err();
    println!(
        "hoarding objects: {}",
        error.downcast_ref::<Trap>().expect("it trapped")
    );
    println!("less than 2 MiB are left: {}", store.data().left < 2 * MIB);
    // ANCHOR_END: budget
    Ok(())
}
