//! The public face: from bytes to an artifact.

use crate::clif::ClifFiles;
use crate::driver::Target;
use crate::error::CompileError;
use crate::incremental::{CacheStore, Incremental};
use crate::operator_cost::OperatorCost;
use crate::{driver, emit, init, isa, parse};
use cowling_abi::DefinedFuncIndex;
use cowling_abi::artifact::Header;
use cowling_abi::knobs::{Knobs, OptLevel, RegallocAlgorithm};
use cranelift_codegen::isa::OwnedTargetIsa;
use std::path::PathBuf;
use std::sync::Arc;

/// A compiler under fixed settings. It may be used from several threads at once.
pub struct Compiler {
    isa: OwnedTargetIsa,
    /// The same, for functions on which little is spent.
    least_effort: OwnedTargetIsa,
    knobs: Knobs,
    costs: OperatorCost,
    header: Header,
    clif: Option<PathBuf>,
    store: Option<Arc<dyn CacheStore>>,
}

impl Compiler {
    /// A compiler for this machine.
    ///
    /// # Errors
    /// When this machine lacks a processor feature that compiled code needs.
    pub fn new(knobs: &Knobs) -> Result<Compiler, CompileError> {
        Self::for_header(knobs, Header::for_this_machine(knobs))
    }

    /// A compiler whose artifacts get this header, for machines with the processor features that it names.
    ///
    /// # Errors
    /// When a processor feature that compiled code needs is missing there, or a setting makes no sense.
    pub fn for_header(knobs: &Knobs, header: Header) -> Result<Compiler, CompileError> {
        Ok(Compiler {
            isa: isa::target(knobs, &header.cpu_features)?,
            least_effort: {
                let knobs = Knobs {
                    cranelift_opt_level: OptLevel::None,
                    cranelift_regalloc_algorithm: RegallocAlgorithm::SinglePass,
                    ..knobs.clone()
                };
                isa::target(&knobs, &header.cpu_features)?
            },
            knobs: knobs.clone(),
            costs: OperatorCost::try_from(&knobs.operator_cost)?,
            header,
            clif: None,
            store: None,
        })
    }

    /// Writes the intermediate code of each function into a file in this directory.
    pub fn emit_clif(&mut self, directory: PathBuf) {
        self.clif = Some(directory);
    }

    /// Takes from this store what was compiled before, and keeps there what is compiled now.
    pub fn use_store(&mut self, store: Arc<dyn CacheStore>) {
        self.store = Some(store);
    }

    fn target(&self) -> Target<'_> {
        Target {
            isa: &*self.isa,
            least_effort: &*self.least_effort,
            knobs: &self.knobs,
            costs: &self.costs,
        }
    }

    /// Checks that a binary is a valid module that may be compiled under these settings.
    ///
    /// # Errors
    /// Says what is wrong and at which byte.
    pub fn validate(&self, wasm: &[u8]) -> Result<(), CompileError> {
        let parsed = parse::parse(wasm, &self.knobs)?;
        driver::validate(&parsed, &self.knobs)
    }

    /// Compiles a module to an artifact, as [`cowling_abi::artifact`] describes it. Equal bytes under equal settings give equal
    /// artifacts, whatever the number of threads.
    ///
    /// `progress` is called with the number of functions done and the number of all functions, from several threads and not
    /// necessarily in order.
    ///
    /// # Errors
    /// When the module is not valid, uses something that is not supported, or passes a limit.
    pub fn compile(
        &self,
        wasm: &[u8],
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Vec<u8>, CompileError> {
        let span = tracing::debug_span!("compile", bytes = wasm.len());
        let _entered = span.enter();
        let mut parsed = parse::parse(wasm, &self.knobs)?;
        let initial = init::lay_out(&mut parsed, &self.knobs);
        let clif = self.clif.as_deref().map(|dir| ClifFiles::new(dir, wasm));
        let store = self.store.as_deref();
        let store = store.map(|store| Incremental::new(store, &*self.isa));
        let aside = driver::Aside {
            clif: clif.as_ref(),
            store,
            progress,
        };
        let code = driver::compile(&parsed, self.target(), aside)?;
        parsed.info.largest_frame = code.largest_frame();
        let header = self.header.clone();
        emit::artifact(&parsed, initial, code, &*self.isa, &self.knobs, header)
    }

    /// The intermediate code of one function before optimisation, as text. For tests that show how something is translated.
    ///
    /// # Errors
    /// As [`compile`](Self::compile), or when there is no such function.
    #[doc(hidden)]
    pub fn clif(&self, wasm: &[u8], function: DefinedFuncIndex) -> Result<String, CompileError> {
        self.clif_of(wasm, function, false)
    }

    /// Likewise, behind this crate's own optimisations.
    ///
    /// # Errors
    /// As [`clif`](Self::clif).
    #[doc(hidden)]
    pub fn optimized_clif(
        &self,
        wasm: &[u8],
        function: DefinedFuncIndex,
    ) -> Result<String, CompileError> {
        self.clif_of(wasm, function, true)
    }

    fn clif_of(
        &self,
        wasm: &[u8],
        function: DefinedFuncIndex,
        optimized: bool,
    ) -> Result<String, CompileError> {
        let mut parsed = parse::parse(wasm, &self.knobs)?;
        init::lay_out(&mut parsed, &self.knobs);
        driver::clif(&parsed, self.target(), function, optimized)
    }
}
