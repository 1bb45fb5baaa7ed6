//! Programs that embed an engine, each a file with a `main` that prints what it does. All they know of the engine is the name
//! `wasmtime`; which crate has that name is up to the package that compiles them.

mod async_host;
mod async_limits;
mod call_hooks;
mod core_dump;
mod dynamic_calls;
mod epochs;
mod exceptions;
mod fuel;
mod gc_objects;
mod hello;
mod host_memory;
mod host_objects;
mod introspection;
mod limits;
mod linking;
mod multi_value;
mod pooling;
mod precompile;
mod profiler;
mod server;
mod strings;
mod tables_and_globals;
mod threads;
mod traps;
mod unknown_imports;

macro_rules! embeddings {
    ($($name:ident),* $(,)?) => {
        /// The names of all programs.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Runs the program of this name. `None` if there is none.
        pub fn run(name: &str) -> Option<anyhow::Result<()>> {
            match name {
                $(stringify!($name) => Some($name::main().map_err(Into::into)),)*
                _ => None,
            }
        }
    };
}

embeddings! {
    hello,
    linking,
    strings,
    multi_value,
    dynamic_calls,
    tables_and_globals,
    host_objects,
    gc_objects,
    exceptions,
    async_host,
    fuel,
    epochs,
    limits,
    call_hooks,
    pooling,
    server,
    precompile,
    unknown_imports,
    traps,
    core_dump,
    threads,
    introspection,
    host_memory,
    profiler,
    async_limits,
}
