//! Settings of the compiler that are no knobs: what they say has no place in a line of text, or is not kept in artifacts.

use super::Config;
use crate::error::Result;
use cowling_abi::knobs::{KnobError, Knobs};
use cowling_compiler::{CacheStore, OperatorCost, WasmFeatures};
use cowling_vm::Trusted;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Called with the number of functions compiled so far and in all.
pub(crate) type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Which code generator compiles.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// The engine decides; today there is one.
    Auto,
    /// Cranelift: optimised code, quickly made.
    Cranelift,
}

/// The settings.
#[derive(Clone)]
pub(crate) struct CompilerConfig {
    pub(crate) enabled: bool,
    pub(crate) strategy: Strategy,
    pub(crate) progress: Option<Progress>,
    pub(crate) emit_clif: Option<PathBuf>,
    pub(crate) target: Option<String>,
    pub(crate) store: Option<Arc<dyn CacheStore>>,
    without_knob: WithoutKnob,
}

impl Default for CompilerConfig {
    fn default() -> Self {
        CompilerConfig {
            enabled: true,
            strategy: Strategy::Auto,
            progress: None,
            emit_clif: None,
            target: None,
            store: None,
            without_knob: WithoutKnob::default(),
        }
    }
}

impl CompilerConfig {
    pub(super) fn check(&self, knobs: &Knobs) -> Result<()> {
        if let Some(path) = &self.emit_clif
            && !path.is_dir()
        {
            let error = KnobError::Refused {
                name: "emit_clif",
                value: format!("`{}`", path.display()),
                reason: "there is no such directory".into(),
            };
            return Err(error.into());
        }
        if let Err(error) = OperatorCost::try_from(&knobs.operator_cost) {
            let refused = KnobError::Refused {
                name: "operator_cost",
                value: knobs.operator_cost.to_string(),
                reason: error.to_string(),
            };
            return Err(refused.into());
        }
        self.without_knob.check(knobs)
    }
}

/// WebAssembly features for which there is no knob, and how the embedder wants them.
#[derive(Clone)]
struct WithoutKnob {
    on: WasmFeatures,
    off: WasmFeatures,
}

impl Default for WithoutKnob {
    fn default() -> Self {
        WithoutKnob {
            on: WasmFeatures::empty(),
            off: WasmFeatures::empty(),
        }
    }
}

impl WithoutKnob {
    fn check(&self, knobs: &Knobs) -> Result<()> {
        let there = cowling_compiler::features(knobs);
        for (features, value, reason) in [
            (self.on - there, "on", "it is not supported"),
            (self.off & there, "off", "it is always there"),
        ] {
            if let Some((feature, _)) = features.iter_names().next() {
                let error = KnobError::Refused {
                    name: "wasm_features",
                    value: format!("{feature} {value}"),
                    reason: reason.into(),
                };
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// Of the compiler. They may be set, and mean nothing, when it is switched off.
impl Config {
    /// Lets the engine compile. One that may not loads artifacts, and compiling is an error, as it is without the crate's feature
    /// `compiler`. The default is `true`.
    pub fn enable_compiler(&mut self, enable: bool) -> &mut Self {
        self.compiler.enabled = enable;
        self
    }

    /// Which code generator compiles. The default is [`Strategy::Auto`].
    pub fn strategy(&mut self, strategy: Strategy) -> &mut Self {
        self.compiler.strategy = strategy;
        self
    }

    /// Writes the intermediate code of what is compiled into this directory, before it is optimised: one file for each function, whose
    /// name begins with a hash of the module. Compiling takes longer by what that takes.
    pub fn emit_clif(&mut self, path: &Path) -> &mut Self {
        self.compiler.emit_clif = Some(path.to_path_buf());
        self
    }

    /// Keeps each function that is compiled in a cache, and takes those from there that were compiled before: of a module that
    /// has changed only the functions are compiled that have.
    ///
    /// ```
    /// # use cowling::*;
    /// # let dir = tempfile::tempdir()?;
    /// let cache = Cache::new(CacheConfig::new().with_directory(dir.path()).clone())?;
    /// let mut config = Config::new();
    /// config.incremental_cache(cache);
    /// Module::new(&Engine::new(&config)?, "(module (func $same) (func (result i32) (i32.const 1)))")?;
    /// // Only the second function is compiled.
    /// Module::new(&Engine::new(&config)?, "(module (func $same) (func (result i32) (i32.const 2)))")?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// A function is found by a hash of its intermediate code, the processor's features and all settings that matter for code. It is
    /// found again when it has moved, or when functions that it calls have. Off by default: the first compilation takes a little longer,
    /// and the functions take as much room as the code.
    #[cfg(feature = "cache")]
    pub fn incremental_cache(&mut self, cache: crate::Cache) -> &mut Self {
        self.compiler.store = Some(Arc::new(cache));
        self
    }

    cowling_vm::on_trust! {
        /// The same with a store of the embedder's own.
        ///
        /// # Safety
        /// For a key, the store returns nothing or what was inserted with that key, by this process or by another one that is as trustworthy:
        /// it becomes code that runs. Accidental damage is noticed; malice is not.
        ///
        /// # Errors
        /// None today.
        pub unsafe fn enable_incremental_compilation(
            &mut self,
            trusted cache_store: Arc<dyn CacheStore>
        ) -> Result<&mut Self> => Config::keep_functions;
    }

    fn keep_functions(&mut self, store: Trusted<Arc<dyn CacheStore>>) -> Result<&mut Self> {
        self.compiler.store = Some(store.into_inner());
        Ok(self)
    }

    /// What each operator costs in fuel. It matters under [`consume_fuel`](Self::consume_fuel), and artifacts are only loaded by engines
    /// with the same costs.
    ///
    /// ```
    /// # use cowling::*;
    /// let mut config = Config::new();
    /// let variable = VariableOperatorCost { memory_fill_per_byte: 1, ..Default::default() };
    /// config.consume_fuel(true).operator_cost(OperatorCost { Call: 5, variable, ..Default::default() });
    /// assert_eq!(config.knobs().operator_cost.to_string(), "Call=5,memory_fill_per_byte=1");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn operator_cost(&mut self, cost: OperatorCost) -> &mut Self {
        self.knobs.operator_cost = cost.into();
        self
    }

    /// Compiles for the machines of this target triple rather than for this one, with no more of a processor's features than every
    /// x86-64 processor since 2008 has. Artifacts then run on each such machine. The code runs here, too.
    ///
    /// By default code is for this machine, and its artifacts run on those that have all of its processor's features.
    ///
    /// # Errors
    /// When it is no target triple, or not one of x86-64 Linux.
    pub fn target(&mut self, target: &str) -> Result<&mut Self> {
        cowling_compiler::check_target(target)?;
        self.compiler.target = Some(target.to_string());
        Ok(self)
    }

    /// Switches WebAssembly features on or off: sets the knobs whose names begin with `wasm_`.
    ///
    /// What cannot be is told by [`Engine::new`](crate::Engine::new): features that are not supported cannot be on, and those without
    /// a knob that are cannot be off.
    pub fn wasm_features(&mut self, flag: WasmFeatures, enable: bool) -> &mut Self {
        let without_knob = cowling_compiler::set_features(&mut self.knobs, flag, enable);
        let WithoutKnob { on, off } = &mut self.compiler.without_knob;
        on.set(without_knob, enable);
        off.set(without_knob, !enable);
        self
    }

    /// Calls `report` while a module compiles with the number of functions done and the number of functions in all.
    ///
    /// It is called from compiling threads, several at once, and should return soon.
    pub fn compile_progress(
        &mut self,
        report: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> &mut Self {
        self.compiler.progress = Some(Arc::new(report));
        self
    }
}
