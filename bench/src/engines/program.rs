//! Whole programs, with the same WASI below them whichever engine runs them.

macro_rules! programs {
    ($($engine:ident),*) => {$(
        pub mod $engine {
            use crate::engines::failed;
            use ::$engine::{Caller, Engine, Extern, ExternType, FuncType, Linker, Module, Store, Val};
            use anyhow::{Context, Result, bail};
            use cowling_bench_wasi::{Function, Outcome, Program, World, function};

            /// Compiles the program. Calling what is returned runs it once, in an instance of its own.
            pub fn program(
                engine: &Engine,
                program: &Program,
            ) -> Result<impl FnMut() -> Result<Outcome> + 'static> {
                let module = Module::new(engine, program.wasm()?).map_err(failed)?;
                let linker = linker(engine, &module)?;
                let pre = linker.instantiate_pre(&module).map_err(failed)?;
                let (engine, program) = (engine.clone(), program.clone());
                Ok(move || {
                    let world = World::new(&program.name(), &program.directory);
                    let mut store = Store::new(&engine, world);
                    let instance = pre.instantiate(&mut store).map_err(failed)?;
                    let start = instance
                        .get_typed_func::<(), ()>(&mut store, "_start")
                        .map_err(failed)?;
                    let result = start.call(&mut store, ()).map_err(failed);
                    store.into_data().outcome(result)
                })
            }

            /// Defines all that the module imports.
            fn linker(engine: &Engine, module: &Module) -> Result<Linker<World>> {
                let mut linker = Linker::new(engine);
                for import in module.imports() {
                    let (module, name) = (import.module(), import.name());
                    let (Some(function), ExternType::Func(ty)) = (function(module, name), import.ty())
                    else {
                        bail!("there is nothing to import as \"{module}\".\"{name}\"");
                    };
                    linker.allow_shadowing(true);
                    define(&mut linker, module, name, ty, function)
                        .with_context(|| format!("\"{module}\".\"{name}\" cannot be defined"))?;
                }
                Ok(linker)
            }

            fn define(
                linker: &mut Linker<World>,
                module: &str,
                name: &str,
                ty: FuncType,
                function: Function,
            ) -> Result<()> {
                let call = move |mut caller: Caller<'_, World>,
                                 parameters: &[Val],
                                 results: &mut [Val]|
                      -> ::$engine::Result<()> {
                    let arguments = parameters.iter().map(|parameter| match parameter {
                        Val::I32(value) => u64::from(value.cast_unsigned()),
                        Val::I64(value) => value.cast_unsigned(),
                        _ => 0,
                    });
                    let arguments: Vec<u64> = arguments.collect();
                    let memory = caller.get_export("memory").and_then(Extern::into_memory);
                    let (mut memory, world) = match &memory {
                        Some(memory) => memory.data_and_store_mut(&mut caller),
                        None => (&mut [][..], caller.data_mut()),
                    };
                    let answer = function.call(world, &mut memory, &arguments)?;
                    if let [result] = results {
                        *result = Val::I32(answer);
                    }
                    Ok(())
                };
                linker
                    .func_new(module, name, ty, call)
                    .map(drop)
                    .map_err(failed)
            }
        }
    )*};
}

programs!(cowling, wasmtime);
