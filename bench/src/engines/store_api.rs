//! Cowling's Store layer and Wasmtime: names and signatures are the same, so what is needed of them is written once.

macro_rules! store_api {
    ($($engine:ident: $load:ident),*) => {$(
        pub mod $engine {
            use crate::engines::failed;
            use ::$engine::{
                Caller, Config, Engine, Instance, InstancePre, Linker, Memory, Module, ModuleExport, Store, Val,
            };
            use anyhow::{Context, Result};
            use cowling_bench_harness::{CallKind, Run, Runs, repeated, timed};
            use cowling_bench_wasi::Program;
            use std::hint::black_box;
            use std::path::Path;

            /// An engine with some configuration, used through stores.
            pub struct StoreApi {
                engine: Engine,
            }

            /// A module that is ready to be instantiated.
            pub struct Template {
                pre: InstancePre<()>,
                call: Option<ModuleExport>,
            }

            /// The embedder's data in [`cowling_bench_harness::guests::CALLS`].
            type Data = Option<Memory>;

            impl StoreApi {
                pub fn new(config: &Config) -> Result<StoreApi> {
                    let engine = Engine::new(config).map_err(failed)?;
                    Ok(StoreApi { engine })
                }
            }

            impl cowling_bench_harness::Engine for StoreApi {
                type Module = Module;
                type Template = Template;
                type Guest = (Store<()>, Instance);

                fn compile(&self, wasm: &[u8]) -> Result<Module> {
                    Module::new(&self.engine, wasm).map_err(failed)
                }

                fn template(&self, module: Module, call: Option<&str>) -> Result<Template> {
                    let find = |name| module.get_export_index(name).with_context(|| format!("no export {name}"));
                    let call = call.map(find).transpose()?;
                    let linker = Linker::new(&self.engine);
                    let pre = linker.instantiate_pre(&module).map_err(failed)?;
                    Ok(Template { pre, call })
                }

                fn create(&self, template: &Template) -> Result<Self::Guest> {
                    let mut store = Store::new(&self.engine, ());
                    let instance = template.pre.instantiate(&mut store).map_err(failed)?;
                    Ok((store, instance))
                }

                fn call(&self, template: &Template, (store, instance): &mut Self::Guest, argument: i32) -> Result<i32> {
                    let call = template.call.as_ref().context("nothing to call")?;
                    let func = instance.get_module_export(&mut *store, call).and_then(|export| export.into_func());
                    let func = func.context("not a function")?.typed::<i32, i32>(&*store).map_err(failed)?;
                    func.call(store, argument).map_err(failed)
                }

                fn serialize(&self, module: &Module) -> Result<Vec<u8>> {
                    module.serialize().map_err(failed)
                }

                fn load(&self, artifact: &Path) -> Result<Module> {
                    super::$load(&self.engine, artifact)
                }

                fn program(&self, program: &Program) -> Result<Runs> {
                    let runs = crate::engines::program::$engine::program(&self.engine, program)?;
                    Ok(Box::new(runs))
                }

                fn calls(&self, kind: CallKind, module: &[u8], other: &[u8]) -> Result<Run> {
                    const COUNT: i32 = 100_000;
                    let module = self.compile(module)?;
                    let other = self.compile(other)?;
                    let mut store: Store<Data> = Store::new(&self.engine, None);
                    let mut linker = Linker::new(&self.engine);
                    linker.func_wrap("host", "call", |x: i32| x).map_err(failed)?;
                    let peek = |mut caller: Caller<'_, Data>, at: i32| -> i32 {
                        let Some(memory) = *caller.data() else { return -1 };
                        let next = at.wrapping_add(1) & 0xffff;
                        let bytes = memory.data_mut(&mut caller);
                        let Some(byte) = bytes.get_mut(next as usize) else { return -1 };
                        *byte = byte.wrapping_add(1);
                        next
                    };
                    linker.func_wrap("host", "peek", peek).map_err(failed)?;
                    let other = linker.instantiate(&mut store, &other).map_err(failed)?;
                    linker.instance(&mut store, "other", other).map_err(failed)?;
                    let instance = linker.instantiate(&mut store, &module).map_err(failed)?;
                    *store.data_mut() = instance.get_memory(&mut store, "memory");
                    let func = |store: &mut Store<Data>, name| {
                        instance.get_typed_func::<i32, i32>(store, name).map_err(failed)
                    };
                    let looping = match kind {
                        CallKind::Typed => {
                            let func = func(&mut store, "id")?;
                            return Ok(repeated(move || {
                                black_box(func.call(&mut store, black_box(7)).map_err(failed)?);
                                Ok(())
                            }));
                        }
                        CallKind::Dynamic => {
                            let func = instance.get_func(&mut store, "id").context("no function id")?;
                            return Ok(repeated(move || {
                                let mut results = [Val::I32(0)];
                                func.call(&mut store, &[Val::I32(black_box(7))], &mut results).map_err(failed)?;
                                black_box(results);
                                Ok(())
                            }));
                        }
                        CallKind::Host => func(&mut store, "calls")?,
                        CallKind::HostMemory => func(&mut store, "peeks")?,
                        CallKind::Indirect => func(&mut store, "indirect")?,
                    };
                    Ok(timed(COUNT as u64, move || {
                        looping.call(&mut store, COUNT).map_err(failed)?;
                        Ok(())
                    }))
                }
            }
        }
    )*};
}

store_api!(cowling: load_cowling, wasmtime: load_wasmtime);

fn load_cowling(
    engine: &::cowling::Engine,
    artifact: &std::path::Path,
) -> anyhow::Result<::cowling::Module> {
    ::cowling::Module::deserialize_file(engine, artifact).map_err(super::failed)
}

#[expect(
    unsafe_code,
    reason = "Wasmtime leaves it to its caller to trust the file"
)]
fn load_wasmtime(
    engine: &::wasmtime::Engine,
    artifact: &std::path::Path,
) -> anyhow::Result<::wasmtime::Module> {
    // SAFETY: this program has just written the file, with bytes that Wasmtime gave it, into a directory of its own.
    let module = unsafe { ::wasmtime::Module::deserialize_file(engine, artifact) };
    module.map_err(super::failed)
}
