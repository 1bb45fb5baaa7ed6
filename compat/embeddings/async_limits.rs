//! A tenant's memory comes out of a budget that several guests share; who finds it empty waits until another gives back.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "host" "pause" (func $pause))
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "run") (param $pages i32) (result i32)
    (local $before i32)
    (local.set $before (memory.grow (local.get $pages)))
    (call $pause)
    (if (i32.lt_s (local.get $before) (i32.const 0)) (then (return (i32.const -1))))
    (memory.size))
  (func (export "grow table") (param i32) (result i32)
    (table.grow (ref.null func) (local.get 0))))
"#;

/// A guest's part of the budget, in pages.
struct Tenant {
    budget: Arc<Semaphore>,
    taken: u32,
    waited: bool,
    failed: bool,
}

impl Tenant {
    fn new(budget: &Arc<Semaphore>) -> Tenant {
        Tenant {
            budget: budget.clone(),
            taken: 0,
            waited: false,
            failed: false,
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.budget.add_permits(self.taken as usize);
    }
}

#[async_trait]
impl ResourceLimiterAsync for Tenant {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        let pages = ((desired - current) >> 16) as u32;
        if pages > 100 {
            bail!("{pages} pages at once");
        }
        if self.budget.available_permits() < pages as usize {
            self.waited = true;
        }
        let permits = self.budget.acquire_many(pages);
        match tokio::time::timeout(Duration::from_millis(100), permits).await {
            Ok(permits) => {
                permits?.forget();
                self.taken += pages;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.failed = true;
        Ok(())
    }

    async fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        tokio::task::yield_now().await;
        Ok(desired <= 4)
    }
}

async fn guest(
    engine: &Engine,
    linker: &Linker<Tenant>,
    module: &Module,
    budget: &Arc<Semaphore>,
) -> Result<(Store<Tenant>, Instance)> {
    let mut store = Store::new(engine, Tenant::new(budget));
    store.limiter_async(|tenant| tenant);
    let instance = linker.instantiate_async(&mut store, module).await?;
    Ok((store, instance))
}

pub fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap_async("host", "pause", |_: Caller<'_, Tenant>, (): ()| {
        Box::new(tokio::time::sleep(Duration::from_millis(5)))
    })?;

    runtime.block_on(async {
        // Room for both instances and for one that grows, but not for two.
        let budget = Arc::new(Semaphore::new(10));
        let (mut first, one) = guest(&engine, &linker, &module, &budget).await?;
        let (mut second, two) = guest(&engine, &linker, &module, &budget).await?;
        println!("{} pages are left", budget.available_permits());
        let one = one.get_typed_func::<u32, i32>(&mut first, "run")?;
        let two = two.get_typed_func::<u32, i32>(&mut second, "run")?;
        let running = tokio::spawn(async move {
            let pages = one.call_async(&mut first, 6).await?;
            Ok::<_, Error>((pages, first.data().waited))
        });
        tokio::task::yield_now().await;
        println!("second: {} pages", two.call_async(&mut second, 6).await?);
        println!("it waited: {}", second.data().waited);
        let (pages, waited) = running.await??;
        println!("first: {pages} pages, waited: {waited}");

        // Nobody gives back: the limiter says no, or fails.
        println!("no: {}", two.call_async(&mut second, 20).await?);
        println!("failed: {}", second.data().failed);
        let error = two.call_async(&mut second, 1000).await.unwrap_err();
        println!("error: {}", error.root_cause());
        let (mut third, instance) = guest(&engine, &linker, &module, &budget).await?;
        let table = instance.get_typed_func::<u32, i32>(&mut third, "grow table")?;
        println!(
            "table: {} {}",
            table.call_async(&mut third, 3).await?,
            table.call_async(&mut third, 1).await?
        );
        let memory = instance.get_memory(&mut third, "memory").unwrap();
        println!("host: {}", memory.grow_async(&mut third, 1).await?);
        let left = budget.available_permits();
        drop((second, third));
        println!(
            "{left} pages were left, {} are now",
            budget.available_permits()
        );
        Ok(())
    })
}
