//! Whole programs, with the same WASI below them as with the other engines.

use anyhow::{Result, bail};
use cowling_bench_wasi::{Errno, Exit, Function, GuestMemory, Outcome, Program, World, function};
use wasmer::{
    Engine, ExternType, FunctionEnv, FunctionEnvMut, Imports, Instance, Memory, MemoryView, Module,
    RuntimeError, Store, TypedFunction, Value,
};

/// What the host functions of an instance work with.
struct Guest {
    world: World,
    /// None until it is instantiated, and if it exports none.
    memory: Option<Memory>,
}

struct View<'a>(MemoryView<'a>);

impl GuestMemory for View<'_> {
    fn read(&self, address: u32, to: &mut [u8]) -> Result<(), Errno> {
        let result = self.0.read(address.into(), to);
        result.map_err(|_| Errno::Fault)
    }

    fn write(&mut self, address: u32, from: &[u8]) -> Result<(), Errno> {
        let result = self.0.write(address.into(), from);
        result.map_err(|_| Errno::Fault)
    }
}

/// Calling what is returned runs the program once, in an instance of its own.
pub fn program(
    engine: &Engine,
    module: Module,
    program: &Program,
) -> impl FnMut() -> Result<Outcome> + 'static {
    let (engine, program) = (engine.clone(), program.clone());
    move || {
        let mut store = Store::new(engine.clone());
        let guest = Guest {
            world: World::new(&program.name(), &program.directory),
            memory: None,
        };
        let guest = FunctionEnv::new(&mut store, guest);
        let imports = imports(&mut store, &guest, &module)?;
        let instance = Instance::new(&mut store, &module, &imports)?;
        guest.as_mut(&mut store).memory = instance.exports.get_memory("memory").ok().cloned();
        let start: TypedFunction<(), ()> = instance.exports.get_typed_function(&store, "_start")?;
        let result = start.call(&mut store).map_err(Into::into);
        let finished = World::new("", &program.directory);
        std::mem::replace(&mut guest.as_mut(&mut store).world, finished).outcome(result)
    }
}

/// All that the module imports.
fn imports(store: &mut Store, guest: &FunctionEnv<Guest>, module: &Module) -> Result<Imports> {
    let mut imports = Imports::new();
    for import in module.imports() {
        let (module, name) = (import.module(), import.name());
        let (Some(function), ExternType::Function(ty)) = (function(module, name), import.ty())
        else {
            bail!("there is nothing to import as \"{module}\".\"{name}\"");
        };
        let has_result = !ty.results().is_empty();
        let call = move |caller: FunctionEnvMut<'_, Guest>, parameters: &[Value]| {
            let answer = call(function, caller, parameters);
            let answer = answer.map_err(|exit| RuntimeError::user(Box::new(exit)))?;
            Ok(if has_result {
                vec![Value::I32(answer)]
            } else {
                Vec::new()
            })
        };
        let host = wasmer::Function::new_with_env(store, guest, ty, call);
        imports.define(module, name, host);
    }
    Ok(imports)
}

fn call(
    function: Function,
    mut caller: FunctionEnvMut<'_, Guest>,
    parameters: &[Value],
) -> Result<i32, Exit> {
    let arguments = parameters.iter().map(|parameter| match parameter {
        Value::I32(value) => u64::from(value.cast_unsigned()),
        Value::I64(value) => value.cast_unsigned(),
        _ => 0,
    });
    let arguments: Vec<u64> = arguments.collect();
    let (guest, store) = caller.data_and_store_mut();
    match &guest.memory {
        Some(memory) => {
            let mut view = View(memory.view(&store));
            function.call(&mut guest.world, &mut view, &arguments)
        }
        None => function.call(&mut guest.world, &mut &mut [][..], &arguments),
    }
}
