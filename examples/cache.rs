//! The compile cache: the second start does not compile.
//!
//! ```sh
//! cargo run --example cache
//! ```

use cowling::{Cache, CacheConfig, Config, Engine, Instance, Module, Result, Store};
use std::path::Path;

const GUEST: &str = r#"(module
    (func (export "answer") (result i32) (i32.mul (i32.const 6) (i32.const 7))))"#;

// ANCHOR: open
/// What a program does when it starts.
fn open(directory: &Path) -> Result<(Cache, Engine)> {
    let mut settings = CacheConfig::new();
    settings
        .with_directory(directory)
        .with_files_total_size_soft_limit(64 << 20);
    let cache = Cache::new(settings)?;
    let mut config = Config::new();
    config.cache(Some(cache.clone()));
    Ok((cache, Engine::new(&config)?))
}
// ANCHOR_END: open

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().join("modules");

    // ANCHOR: start
    for start in ["first", "second"] {
        let (cache, engine) = open(&directory)?;
        let module = Module::new(&engine, GUEST)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let answer = instance.get_typed_func::<(), i32>(&mut store, "answer")?;
        println!(
            "{start} start: {}, with {} hits and {} misses",
            answer.call(&mut store, ())?,
            cache.cache_hits(),
            cache.cache_misses()
        );
    }
    // ANCHOR_END: start

    // ANCHOR: settings
    let (cache, _) = open(&directory)?;
    let mut config = Config::new();
    config.cache(Some(cache.clone())).consume_fuel(true);
    Module::new(&Engine::new(&config)?, GUEST)?;
    println!(
        "with fuel: {} hits and {} misses",
        cache.cache_hits(),
        cache.cache_misses()
    );
    // ANCHOR_END: settings

    // ANCHOR: wrong
    let mut settings = CacheConfig::new();
    settings.with_directory("modules");
    println!(
        "a relative path: {:#}",
        Cache::new(settings).map(drop).unwrap_err()
    );
    // ANCHOR_END: wrong
    Ok(())
}
