//! Cowling's Guest layer: guests in the slots of a region.

use super::failed;
use anyhow::{Context, Result, bail};
use cowling::{Config, Engine, Guest, InstancePre, Linker, Module, Region};
use cowling_bench_harness::{CallKind, Job, Run, Runs};
use cowling_bench_wasi::Program;
use std::path::Path;

/// An engine, and a region that all guests are in.
pub struct GuestLayer {
    engine: Engine,
    region: Region,
}

/// What guests are made of, and the name of the function that is called.
pub struct Template {
    pre: InstancePre<()>,
    call: Option<String>,
}

impl GuestLayer {
    pub fn new(job: &Job) -> Result<GuestLayer> {
        let engine = Engine::new(&Config::new()).map_err(failed)?;
        let region = Region::builder()
            .slots(job.guests())
            .memory(job.memory() as u64)
            .build()?;
        Ok(GuestLayer { engine, region })
    }
}

impl cowling_bench_harness::Engine for GuestLayer {
    type Module = Module;
    type Template = Template;
    type Guest = Guest<()>;

    fn compile(&self, wasm: &[u8]) -> Result<Module> {
        Module::new(&self.engine, wasm).map_err(failed)
    }

    fn template(&self, module: Module, call: Option<&str>) -> Result<Template> {
        let linker = Linker::new(&self.engine);
        Ok(Template {
            pre: linker.instantiate_pre(&module).map_err(failed)?,
            call: call.map(str::to_string),
        })
    }

    fn create(&self, template: &Template) -> Result<Guest<()>> {
        Ok(self.region.guest(&template.pre, ()).build()?)
    }

    fn call(&self, template: &Template, guest: &mut Guest<()>, argument: i32) -> Result<i32> {
        let call = template.call.as_ref().context("nothing to call")?;
        let result = guest.run_typed::<i32, i32>(call, argument)?;
        result.returned().context("the guest was suspended")
    }

    fn serialize(&self, module: &Module) -> Result<Vec<u8>> {
        module.serialize().map_err(failed)
    }

    fn load(&self, artifact: &Path) -> Result<Module> {
        Module::deserialize_file(&self.engine, artifact).map_err(failed)
    }

    fn calls(&self, kind: CallKind, module: &[u8], _: &[u8]) -> Result<Run> {
        bail!(
            "calls in a region are those of a store ({kind:?}, {} bytes)",
            module.len()
        )
    }

    fn program(&self, program: &Program) -> Result<Runs> {
        bail!("{} in a region runs like one in a store", program.name())
    }
}
