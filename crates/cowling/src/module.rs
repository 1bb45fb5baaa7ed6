//! Modules: compiled code and the facts about it, ready to be instantiated any number of times.

mod code;
mod start_up;

pub use code::ModuleFunction;
pub use start_up::StartUp;

use crate::artifact;
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::identity::Identity;
use crate::types::{ExportType, ExternType, ImportType};
use cowling_abi::EntityIndex;
use cowling_vm::{CompiledModule, Handle, Trusted, Verify};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// A compiled module.
///
/// Cheap to clone: clones share the code, which is unmapped when the last one and the last instance are gone.
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    code: Handle<CompiledModule>,
}

impl Module {
    /// The module as an artifact: native code for this version, these settings and this kind of machine, for
    /// [`Module::deserialize`].
    ///
    /// # Errors
    /// None today.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        Ok(self.code.artifact_bytes().to_vec())
    }

    cowling_vm::on_trust! {
        /// Loads an artifact. It is copied once, into memory that nobody else can write.
        ///
        /// ```
        /// # use cowling::*;
        /// let engine = Engine::default();
        /// let mut artifact = engine.precompile_module(br#"(module (func (export "run")))"#)?;
        /// // SAFETY: it was made in the line above.
        /// let module = unsafe { Module::deserialize(&engine, &artifact)? };
        /// assert_eq!(module.serialize()?, artifact);
        ///
        /// *artifact.last_mut().unwrap() ^= 1;
        /// // SAFETY: it was made above, and an accident like this one is noticed.
        /// let altered = unsafe { Module::deserialize(&engine, &artifact) };
        /// assert!(altered.unwrap_err().downcast_ref::<LoadError>().is_some());
        /// # Ok::<(), Error>(())
        /// ```
        ///
        /// # Safety
        /// The bytes are what [`Module::serialize`] or [`Engine::precompile_module`] gave, of any version of Cowling and any
        /// settings, or were damaged since by accident, which is noticed unless
        /// [`Config::artifact_checksums`](crate::Config::artifact_checksums) is off. An artifact is native code: whoever made it can do what this process can,
        /// and the checksum, which is no signature, stops nobody who wants to.
        ///
        /// # Errors
        /// [`LoadError`](crate::LoadError) when it is truncated, altered, or was made for another version, target, processor or
        /// other settings.
        pub unsafe fn deserialize(engine: &Engine, trusted bytes: impl AsRef<[u8]>) -> Result<Module> => Module::load_trusted;

        /// Loads an artifact from an open file, which is mapped, not read. Where the file stands does not matter.
        ///
        /// # Safety
        /// The file is as for [`Module::deserialize`], and nobody changes it while the module or an instance of it exists.
        ///
        /// # Errors
        /// As [`Module::deserialize`], and an I/O error when it cannot be read.
        pub unsafe fn deserialize_open_file(engine: &Engine, trusted file: File) -> Result<Module> => Module::load_trusted_file;
    }

    fn load_trusted(engine: &Engine, bytes: Trusted<impl AsRef<[u8]>>) -> Result<Module> {
        Module::load_bytes(engine, bytes.get().as_ref(), engine.verify())
    }

    fn load_trusted_file(engine: &Engine, file: Trusted<File>) -> Result<Module> {
        let file = file.into_inner();
        let metadata = file.metadata()?;
        Module::load_verified(engine, file, &metadata)
    }

    /// Loads an artifact from a file, which is mapped, not read.
    ///
    /// It is trusted as an executable is: the file must be a regular one that belongs to this user or root and that nobody
    /// else may write. That is why this function is safe, as running a program is, while [`Module::deserialize`], which cannot
    /// know where its bytes come from, is not.
    ///
    /// The whole file is read once to see whether its checksum is right. From then on the engine, and for other processes the
    /// [cache](crate::Config::cache), if there is one, tell from its metadata that it is the same, and loading it takes as long
    /// for a large one as for a small one. That begins when the file is a few seconds old: one that changed a moment ago could change
    /// again without its metadata saying so. [`Config::artifact_checksums`](crate::Config::artifact_checksums) makes it so the first
    /// time, too.
    ///
    /// # Replacing the file
    /// As long as the module, its clones or instances exist, they run what is in the file: it must not be written into, truncated
    /// or copied over. To replace it, write a new file beside it and rename that over the old one ([`std::fs::rename`]). Who
    /// has loaded the old one goes on with the old one; who loads from then on gets the new one.
    ///
    /// # Errors
    /// [`Distrust`](crate::Distrust) when the file is not trusted; an I/O error when it cannot be read; or as
    /// [`Module::deserialize`].
    pub fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        artifact::open_trusted(path)
            .and_then(|(file, metadata)| Module::load_verified(engine, file, &metadata))
            .with_context(|| format!("cannot load `{}`", path.display()))
    }

    /// Loads an artifact whose checksum has to be right. The engine remembers which files were checked, and so does a compile cache.
    /// The metadata are the file's, asked for since it was opened.
    pub(crate) fn load_verified(
        engine: &Engine,
        file: File,
        metadata: &Metadata,
    ) -> Result<Module> {
        let identity = Identity::from_metadata(metadata);
        let Some(identity) = identity.filter(|_| engine.verify() == Verify::Full) else {
            return Module::load_file(engine, file, metadata, engine.verify());
        };
        let checked = engine.checked_files();
        if checked.contains(&identity) {
            return Module::load_file(engine, file, metadata, Verify::HeaderOnly);
        }
        #[cfg(feature = "cache")]
        if let Some(cache) = engine.cache()
            && cache.was_verified(&identity)
        {
            checked.note(&identity, &file);
            return Module::load_file(engine, file, metadata, Verify::HeaderOnly);
        }
        let module = Module::load_file(engine, file.try_clone()?, metadata, Verify::Full)?;
        checked.note(&identity, &file);
        #[cfg(feature = "cache")]
        if let Some(cache) = engine.cache() {
            cache.note_verified(&identity, &file);
        }
        Ok(module)
    }

    pub(crate) fn load_bytes(engine: &Engine, artifact: &[u8], verify: Verify) -> Result<Module> {
        let _span = tracing::info_span!("load", bytes = artifact.len()).entered();
        let code = CompiledModule::load_bytes(
            artifact,
            engine.header(),
            engine.types(),
            verify,
            engine.config().text_pages(),
        )?;
        Ok(Module::loaded(engine, code))
    }

    pub(crate) fn load_file(
        engine: &Engine,
        file: File,
        metadata: &Metadata,
        verify: Verify,
    ) -> Result<Module> {
        let _span = tracing::info_span!("load").entered();
        if engine.config().knobs().force_memory_init_memfd {
            let mut artifact = Vec::new();
            (&file).seek(SeekFrom::Start(0))?;
            (&file).read_to_end(&mut artifact)?;
            return Module::load_bytes(engine, &artifact, verify);
        }
        let code = CompiledModule::load_file(
            file,
            metadata,
            engine.header(),
            engine.types(),
            verify,
            engine.config().text_pages(),
        )?;
        Ok(Module::loaded(engine, code))
    }

    fn loaded(engine: &Engine, code: Arc<CompiledModule>) -> Module {
        let module = Module::from_code(engine.clone(), code);
        #[cfg(feature = "profiling")]
        engine.config().profiler.report(&module);
        module
    }

    pub(crate) fn from_code(engine: Engine, code: Arc<CompiledModule>) -> Module {
        Module {
            engine,
            code: Handle::new(code),
        }
    }

    pub(crate) fn code(&self) -> &Arc<CompiledModule> {
        self.code.arc()
    }

    /// The engine it was compiled with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Are these the same module, that is, clones of each other? Another compilation of the same bytes is another module.
    pub fn same(a: &Module, b: &Module) -> bool {
        Arc::ptr_eq(a.code(), b.code())
    }

    /// Its name, if the binary's name section gives it one.
    pub fn name(&self) -> Option<&str> {
        self.code.info().name.as_deref()
    }

    /// What it imports, in order of declaration.
    pub fn imports<'module>(
        &'module self,
    ) -> impl ExactSizeIterator<Item = ImportType<'module>> + 'module {
        let code = self.code();
        let imports = code.info().imports.iter();
        imports.map(|import| ImportType::new(code, import))
    }

    /// What it exports, in order of declaration.
    pub fn exports<'module>(
        &'module self,
    ) -> impl ExactSizeIterator<Item = ExportType<'module>> + 'module {
        let code = self.code();
        let exports = code.info().exports.iter();
        exports.map(|(name, entity)| ExportType::new(code, name, *entity))
    }

    /// The type of the export of this name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let entity = *self.code.info().exports.get(name)?;
        Some(ExternType::of_entity(self.code(), entity))
    }

    /// The export of this name as a handle, which finds it in an instance without comparing names.
    pub fn get_export_index(&self, name: &str) -> Option<ModuleExport> {
        Some(ModuleExport {
            entity: *self.code.info().exports.get(name)?,
            module: self.code.id(),
        })
    }

    /// Prepares the initial contents of memories for being mapped. They are part of the artifact and ready when a module is there, so
    /// there is nothing left to do. Here so that code written for the `wasmtime` crate compiles.
    ///
    /// # Errors
    /// None today.
    pub fn initialize_copy_on_write_image(&self) -> Result<()> {
        Ok(())
    }

    /// What an instance of it takes, before anything grows.
    pub fn resources_required(&self) -> ResourcesRequired {
        let info = self.code.info();
        let memories = info.memories.values().skip(info.imported_memories as usize);
        let tables = info.tables.values().skip(info.imported_tables as usize);
        ResourcesRequired {
            num_memories: memories.len() as u32,
            max_initial_memory_size: memories.map(|m| m.minimum).max(),
            num_tables: tables.len() as u32,
            max_initial_table_size: tables.map(|t| t.minimum).max(),
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// An export of a module, found by name once.
#[derive(Copy, Clone)]
pub struct ModuleExport {
    /// The module's number, which one loaded later does not have.
    module: u64,
    entity: EntityIndex,
}

impl ModuleExport {
    /// The entity, if `code` is the module this export is of.
    pub(crate) fn entity_of(&self, code: &CompiledModule) -> Option<EntityIndex> {
        (code.id() == self.module).then_some(self.entity)
    }
}

impl fmt::Debug for ModuleExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleExport")
            .field("entity", &self.entity)
            .finish_non_exhaustive()
    }
}

/// What an instance of a module takes, before anything grows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ResourcesRequired {
    /// Number of memories it defines.
    pub num_memories: u32,
    /// Initial size in pages of the largest of them.
    pub max_initial_memory_size: Option<u64>,
    /// Number of tables it defines.
    pub num_tables: u32,
    /// Initial size in elements of the largest of them.
    pub max_initial_table_size: Option<u64>,
}
