//! What a guest may have at most: with the limiter that comes with the engine, and with one of the embedder's.

use wasmtime::error::Context as _;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (memory (export "memory") 1)
  (table (export "table") 10 funcref)
  (func (export "grow memory") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "grow table") (param i32) (result i32)
    (table.grow (ref.null func) (local.get 0))))
"#;

struct Tenant {
    limits: StoreLimits,
}

/// Counts bytes and says no from time to time.
#[derive(Default)]
struct Accountant {
    bytes: usize,
    elements: usize,
    refused: u32,
    failed: u32,
}

impl ResourceLimiter for Accountant {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        println!("  memory: {current} -> {desired}, at most {maximum:?}");
        if desired > 5 << 16 {
            bail!("{desired} bytes are an outrage");
        }
        let granted = desired <= 3 << 16;
        match granted {
            true => self.bytes += desired - current,
            false => self.refused += 1,
        }
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.failed += 1;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        println!("  table: {current} -> {desired}, at most {maximum:?}");
        self.elements += desired - current;
        Ok(desired <= 100)
    }

    fn instances(&self) -> usize {
        2
    }
}

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;

    // Declared.
    let limits = StoreLimitsBuilder::new()
        .memory_size(2 << 16)
        .table_elements(20)
        .instances(1)
        .memories(1)
        .tables(2)
        .build();
    let mut store = Store::new(&engine, Tenant { limits });
    store.limiter(|tenant| &mut tenant.limits);
    let instance = Instance::new(&mut store, &module, &[])?;
    let memory = instance.get_typed_func::<u32, i32>(&mut store, "grow memory")?;
    let table = instance.get_typed_func::<u32, i32>(&mut store, "grow table")?;
    println!(
        "memory: {} {}",
        memory.call(&mut store, 1)?,
        memory.call(&mut store, 1)?
    );
    println!(
        "table: {} {}",
        table.call(&mut store, 10)?,
        table.call(&mut store, 1)?
    );
    println!(
        "host: {}",
        instance
            .get_memory(&mut store, "memory")
            .unwrap()
            .grow(&mut store, 1)
            .is_err()
    );
    println!(
        "second instance: {}",
        Instance::new(&mut store, &module, &[]).is_err()
    );
    store.data_mut().limits = StoreLimitsBuilder::new()
        .memory_size(2 << 16)
        .trap_on_grow_failure(true)
        .build();
    println!("trap: {}", memory.call(&mut store, 1).is_err());

    // Too big from the start.
    let big = Module::new(&engine, "(module (memory 3))")?;
    let limits = StoreLimitsBuilder::new().memory_size(2 << 16).build();
    let mut store = Store::new(&engine, Tenant { limits });
    store.limiter(|tenant| &mut tenant.limits);
    println!("big: {}", Instance::new(&mut store, &big, &[]).is_err());
    println!(
        "no memory: {}",
        Memory::new(&mut store, MemoryType::new(3, None)).is_err()
    );
    println!(
        "no table: {}",
        Table::new(
            &mut store,
            TableType::new(RefType::FUNCREF, 1 << 20, None),
            Ref::Func(None)
        )
        .is_ok()
    );

    // Decided case by case.
    let mut store = Store::new(&engine, Accountant::default());
    store.limiter(|accountant| accountant);
    println!("instantiate");
    let instance = Instance::new(&mut store, &module, &[]).context("the first")?;
    Instance::new(&mut store, &module, &[]).context("the second")?;
    println!(
        "third instance: {}",
        Instance::new(&mut store, &module, &[]).is_err()
    );
    let memory = instance.get_typed_func::<u32, i32>(&mut store, "grow memory")?;
    let table = instance.get_typed_func::<u32, i32>(&mut store, "grow table")?;
    for pages in [0, 1, 1, 1, 2] {
        println!("grow by {pages}: {}", memory.call(&mut store, pages)?);
    }
    let error = memory.call(&mut store, 10).unwrap_err();
    println!("grow by 10: {}", error.root_cause());
    println!(
        "table: {} {}",
        table.call(&mut store, 90)?,
        table.call(&mut store, 1)?
    );
    let Accountant {
        bytes,
        elements,
        refused,
        ..
    } = *store.data();
    println!("{bytes} bytes, {elements} elements, {refused} refused");

    // Guests of another kind: growth that nobody could grant.
    let bounded = Module::new(
        &engine,
        r#"(module
      (memory 1 2)
      (func (export "grow memory") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    )?;
    let mut store = Store::new(&engine, Accountant::default());
    store.limiter(|accountant| accountant);
    let instance = Instance::new(&mut store, &bounded, &[])?;
    let memory = instance.get_typed_func::<u32, i32>(&mut store, "grow memory")?;
    println!("{}", memory.call(&mut store, 2)?);
    println!("failed: {}", store.data().failed);
    Ok(())
}
