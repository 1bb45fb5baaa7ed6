//! The engine: settings, the compiler, the registry of function types and the compile cache, shared by everything made with it.

mod settings;

use crate::config::Config;
use crate::error::{Context, Result};
use crate::identity::CheckedFiles;
use cowling_abi::artifact::Header;
use cowling_vm::{Handle, Pool, PoolMetrics, RuntimeConfig, TypeRegistry, Verify};
use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Weak};

/// The environment in which modules are compiled and run.
///
/// An engine is made once per program, or once per set of settings, and is cheap to clone: clones are the same engine. Modules,
/// linkers and stores of one engine do not work with those of another.
///
/// ```
/// # use cowling::*;
/// let engine = Engine::new(Config::new().consume_fuel(true))?;
/// assert!(engine.get_consume_fuel());
/// // Compiled now, for engines like this one, on machines like this one.
/// let artifact = engine.precompile_module(br#"(module (func (export "run")))"#)?;
/// assert_eq!(Engine::detect_precompiled(&artifact), Some(Precompiled::Module));
/// assert!(!Engine::same(&engine, &Engine::default()));
/// # Ok::<(), Error>(())
/// ```
pub struct Engine {
    inner: Arc<EngineInner>,
    /// What makes its slots stay warm. Stores have an engine without it: those that were dropped leave theirs behind, and must not
    /// be the reason why anything stays.
    _pool: Option<Handle<Pool>>,
}

impl Clone for Engine {
    fn clone(&self) -> Engine {
        Engine::with_pool(self.inner.clone())
    }
}

struct EngineInner {
    config: Config,
    /// What an artifact must match to be loaded here.
    header: Header,
    runtime: Arc<RuntimeConfig>,
    #[cfg(feature = "compiler")]
    compiler: crate::compile::LazyCompiler,
    #[cfg(feature = "cache")]
    cache: Option<crate::cache::EngineCache>,
    checked_files: CheckedFiles,
}

impl Engine {
    /// An engine with these settings.
    ///
    /// # Errors
    /// [`KnobError`](crate::KnobError) when a setting cannot be had, alone or together with the others; or when code cannot be
    /// generated for this machine.
    pub fn new(config: &Config) -> Result<Engine> {
        let mut config = config.clone();
        config.settle()?;
        config.check_supplied()?;
        #[cfg(feature = "profiling")]
        config.profiler.open()?;
        let engine = Engine::build(config)?;
        #[cfg(feature = "compiler")]
        if engine.config().compiler.enabled {
            engine.compiler()?;
        }
        Ok(engine)
    }

    /// An engine with settings that go together.
    fn build(config: Config) -> Result<Engine> {
        let types = TypeRegistry::new().context("reserving address space for types")?;
        let header = config.header();
        let pool = Pool::new(config.allocation.pool_config());
        let inner = Arc::new(EngineInner {
            #[cfg(feature = "cache")]
            cache: (config.cache.clone()).map(|cache| {
                let debug_info = config.knobs.wasm_backtrace_details.are_wanted();
                crate::cache::EngineCache::new(cache, &config.code_header(&header), debug_info)
            }),
            #[cfg(feature = "compiler")]
            compiler: Default::default(),
            checked_files: CheckedFiles::default(),
            runtime: Arc::new(RuntimeConfig {
                knobs: config.knobs.clone(),
                types,
                epochs: Default::default(),
                supplied: config.supplied.clone(),
                pool,
                describe: crate::backtrace::describe,
            }),
            header,
            config,
        });
        let weak = Arc::downgrade(&inner);
        inner.runtime.types.set_embedder(weak);
        Ok(Engine::with_pool(inner))
    }

    fn with_pool(inner: Arc<EngineInner>) -> Engine {
        Engine {
            _pool: Some(Handle::new(inner.runtime.pool.clone())),
            inner,
        }
    }

    /// What its stores share: this engine, but without a hold on its pool.
    pub(crate) fn of_stores(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(self.without_pool())
    }

    /// The same engine, without a hold on its pool.
    pub(crate) fn without_pool(&self) -> Engine {
        Engine {
            inner: self.inner.clone(),
            _pool: None,
        }
    }

    /// The engine that types belong to, also without a hold on its pool.
    pub(crate) fn of_types(types: &TypeRegistry) -> Engine {
        let inner = types.embedder().and_then(|inner| inner.downcast().ok());
        Engine {
            // Modules, stores and types keep it, and types come from these.
            inner: inner.unwrap_or_else(|| unreachable!("whoever has a type has its engine")),
            _pool: None,
        }
    }

    /// The engine that stores share.
    pub(crate) fn of_store(shared: &(dyn Any + Send + Sync)) -> &Engine {
        let engine = shared.downcast_ref();
        engine.unwrap_or_else(|| unreachable!("every store was made with `of_stores`"))
    }

    /// Figures of the pool that slots come from: how many are in use, how many are warm, what was done to them.
    pub fn pool_metrics(&self) -> PoolMetrics {
        self.inner.runtime.pool.metrics()
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Begins the next epoch: guests are interrupted whose store's
    /// [epoch deadline](crate::Store::set_epoch_deadline) it is. May be called from any thread at any time; takes time in
    /// proportion to the number of stores that have such a deadline.
    pub fn increment_epoch(&self) {
        if self.inner.runtime.knobs.epoch_interruption {
            self.inner.runtime.epochs.increment();
        }
    }

    /// Are these the same engine, that is, clones of each other?
    pub fn same(a: &Engine, b: &Engine) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// A reference that does not keep the engine alive.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Prepares this thread for running guests: what the first call of a guest would do otherwise, which takes some microseconds.
    pub fn tls_eager_initialize() {
        cowling_vm::prepare_thread();
    }

    /// Is guest code interpreted? It never is. Here so that code written for the `wasmtime` crate compiles.
    pub fn is_pulley(&self) -> bool {
        false
    }

    /// What kind of precompiled artifact these bytes are, if they are one. Says nothing about whether it loads.
    pub fn detect_precompiled(bytes: &[u8]) -> Option<Precompiled> {
        crate::artifact::is_artifact(bytes).then_some(Precompiled::Module)
    }

    /// What kind of precompiled artifact this file is, if it is one. Says nothing about whether it loads.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn detect_precompiled_file(path: impl AsRef<Path>) -> Result<Option<Precompiled>> {
        let is_artifact = crate::artifact::is_artifact_file(path.as_ref())?;
        Ok(is_artifact.then_some(Precompiled::Module))
    }

    /// Something to hash: two engines that hash the same run each other's artifacts, if their machines have the same processor
    /// features.
    pub fn precompile_compatibility_hash(&self) -> impl Hash + '_ {
        Compatibility(self.inner.config.code_header(&self.inner.header))
    }

    pub(crate) fn header(&self) -> &Header {
        &self.inner.header
    }

    pub(crate) fn runtime(&self) -> &Arc<RuntimeConfig> {
        &self.inner.runtime
    }

    pub(crate) fn types(&self) -> &Arc<TypeRegistry> {
        &self.inner.runtime.types
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn compiler(&self) -> Result<&cowling_compiler::Compiler> {
        let EngineInner { config, header, .. } = &*self.inner;
        self.inner
            .compiler
            .get(config, || config.code_header(header))
    }

    /// How much of an artifact that somebody else kept is checked.
    pub(crate) fn verify(&self) -> Verify {
        match self.config().knobs().artifact_checksums {
            true => Verify::Full,
            false => Verify::HeaderOnly,
        }
    }

    /// Artifacts in files whose checksum was right.
    pub(crate) fn checked_files(&self) -> &CheckedFiles {
        &self.inner.checked_files
    }

    #[cfg(feature = "cache")]
    pub(crate) fn cache(&self) -> Option<&crate::cache::EngineCache> {
        self.inner.cache.as_ref()
    }
}

impl Default for Engine {
    /// An engine with the default settings. If code cannot be generated for this machine, compiling fails.
    ///
    /// # Panics
    /// If the system has no address space left.
    fn default() -> Engine {
        Engine::build(Config::default()).expect("address space for an engine")
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// A reference to an [`Engine`] that does not keep it alive. The default refers to none.
#[derive(Clone, Default)]
pub struct EngineWeak {
    inner: Weak<EngineInner>,
}

impl EngineWeak {
    /// The engine, if it is still there.
    pub fn upgrade(&self) -> Option<Engine> {
        self.inner.upgrade().map(Engine::with_pool)
    }
}

impl fmt::Debug for EngineWeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineWeak").finish_non_exhaustive()
    }
}

/// A kind of precompiled artifact.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Precompiled {
    /// A module: what [`Module::serialize`](crate::Module::serialize) gives.
    Module,
}

struct Compatibility(Header);

impl Hash for Compatibility {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Header {
            version,
            target,
            cpu_features,
            settings,
            file_len: _,
            content_hash: _,
        } = &self.0;
        (version, target, cpu_features, settings).hash(state);
    }
}
