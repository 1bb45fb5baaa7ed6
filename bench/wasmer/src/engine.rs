//! What the jobs of `cowling_bench_harness` need of Wasmer.

use anyhow::{Context, Result};
use cowling_bench_harness::{CallKind, Run, Runs, repeated, timed};
use cowling_bench_wasi::Program;
use std::hint::black_box;
use std::path::Path;
use wasmer::sys::{Cranelift, EngineBuilder, Singlepass};
use wasmer::{
    Engine, Function, FunctionEnv, FunctionEnvMut, Imports, Instance, Memory, Module, Store,
    TypedFunction, Value, imports,
};

/// Which code generator.
#[derive(Copy, Clone, Debug)]
pub enum Backend {
    Cranelift,
    Singlepass,
}

impl Backend {
    /// What `cowling-bench` calls it.
    pub fn key(self) -> &'static str {
        match self {
            Backend::Cranelift => "wasmer: Cranelift",
            Backend::Singlepass => "wasmer: singlepass",
        }
    }
}

/// Wasmer with one of its code generators, not configured any further.
pub struct Wasmer {
    engine: Engine,
}

/// A module, what it imports (nothing), and the name of the function that is called. Wasmer has nothing to prepare.
pub struct Template {
    module: Module,
    imports: Imports,
    call: Option<String>,
}

/// The embedder's data in [`cowling_bench_harness::guests::CALLS`].
type Data = Option<Memory>;

impl Wasmer {
    pub fn new(backend: Backend) -> Wasmer {
        let builder = match backend {
            Backend::Cranelift => EngineBuilder::new(Cranelift::default()),
            Backend::Singlepass => EngineBuilder::new(Singlepass::default()),
        };
        Wasmer {
            engine: builder.engine().into(),
        }
    }
}

impl cowling_bench_harness::Engine for Wasmer {
    type Module = Module;
    type Template = Template;
    type Guest = (Store, Instance);

    fn compile(&self, wasm: &[u8]) -> Result<Module> {
        Ok(Module::from_binary(&self.engine, wasm)?)
    }

    fn template(&self, module: Module, call: Option<&str>) -> Result<Template> {
        Ok(Template {
            module,
            imports: imports! {},
            call: call.map(str::to_string),
        })
    }

    fn create(&self, template: &Template) -> Result<(Store, Instance)> {
        let mut store = Store::new(self.engine.clone());
        let instance = Instance::new(&mut store, &template.module, &template.imports)?;
        Ok((store, instance))
    }

    fn call(
        &self,
        template: &Template,
        (store, instance): &mut (Store, Instance),
        argument: i32,
    ) -> Result<i32> {
        let call = template.call.as_ref().context("nothing to call")?;
        let func: TypedFunction<i32, i32> = instance.exports.get_typed_function(store, call)?;
        Ok(func.call(store, argument)?)
    }

    fn serialize(&self, module: &Module) -> Result<Vec<u8>> {
        Ok(module.serialize()?.to_vec())
    }

    #[expect(
        unsafe_code,
        reason = "Wasmer leaves it to its caller to trust the file"
    )]
    fn load(&self, artifact: &Path) -> Result<Module> {
        // SAFETY: this program has just written the file, with bytes that Wasmer gave it, into a directory of its own.
        Ok(unsafe { Module::deserialize_from_file_unchecked(&self.engine, artifact) }?)
    }

    fn program(&self, program: &Program) -> Result<Runs> {
        let module = self.compile(&program.wasm()?)?;
        Ok(Box::new(crate::program::program(
            &self.engine,
            module,
            program,
        )))
    }

    fn calls(&self, kind: CallKind, module: &[u8], other: &[u8]) -> Result<Run> {
        const COUNT: i32 = 100_000;
        let module = self.compile(module)?;
        let other = self.compile(other)?;
        let mut store = Store::new(self.engine.clone());
        let other = Instance::new(&mut store, &other, &imports! {})?;
        let data = FunctionEnv::new(&mut store, Data::None);
        let imports = imports! {
            "host" => {
                "call" => Function::new_typed(&mut store, |x: i32| x),
                "peek" => Function::new_typed_with_env(&mut store, &data, peek),
            },
            "other" => { "id" => other.exports.get_function("id")?.clone() },
        };
        let instance = Instance::new(&mut store, &module, &imports)?;
        *data.as_mut(&mut store) = Some(instance.exports.get_memory("memory")?.clone());
        let func = |name| -> Result<TypedFunction<i32, i32>> {
            Ok(instance.exports.get_typed_function(&store, name)?)
        };
        let looping = match kind {
            CallKind::Typed => {
                let func = func("id")?;
                return Ok(repeated(move || {
                    black_box(func.call(&mut store, black_box(7))?);
                    Ok(())
                }));
            }
            CallKind::Dynamic => {
                let func = instance.exports.get_function("id")?.clone();
                return Ok(repeated(move || {
                    black_box(func.call(&mut store, &[Value::I32(black_box(7))])?);
                    Ok(())
                }));
            }
            CallKind::Host => func("calls")?,
            CallKind::HostMemory => func("peeks")?,
            CallKind::Indirect => func("indirect")?,
        };
        Ok(timed(COUNT as u64, move || {
            looping.call(&mut store, COUNT)?;
            Ok(())
        }))
    }
}

/// Counts in a byte of the guest's memory, and returns where the next one is.
fn peek(mut caller: FunctionEnvMut<'_, Data>, at: i32) -> i32 {
    let (data, store) = caller.data_and_store_mut();
    let Some(memory) = data else { return -1 };
    let next = at.wrapping_add(1) & 0xffff;
    let view = memory.view(&store);
    let counted = view
        .read_u8(next as u64)
        .and_then(|byte| view.write_u8(next as u64, byte.wrapping_add(1)));
    counted.map_or(-1, |()| next)
}
