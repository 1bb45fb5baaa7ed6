//! A compiled module: machine code and facts, mapped from an artifact.
//!
//! ```text
//!   file (or memory file)    | ELF header | .text          | header, info, tables, data | images      |
//!   mapping, private         | R          | R+X (pages)    | R                          | R           |
//!   slots                                                                               `-> mapped again, copy-on-write
//! ```
//!
//! Loading maps the file, checks its header, decodes the [`ModuleInfo`] and checks that every index and range in it is in bounds.
//! Nothing is relocated or copied, and neither code nor the tables that speak of each function are looked at: what is in them is
//! checked when it is used, unless the whole artifact is read anyway for its checksum.
//!
//! Invariants: the mapping is never writable, and only `.text` is executable; the text is registered (see [`crate::registry`])
//! exactly while it is mapped and its module is alive; what the accessors index was checked when the module was loaded.
//!
//! | file | job |
//! |---|---|
//! | [`sections`] | finding the sections of an artifact, header and checksum |
//! | [`check`] | are all indices and ranges of a module's facts in bounds? |
//! | [`template`] | what instances begin with, as far as it is the same for all |
//! | [`types`] | engine-wide numbers of types, and which are below which |

mod check;
mod sections;
mod template;
#[cfg(test)]
mod tests;
mod types;

pub use types::{RegisteredType, TypeError, TypeRegistry};

use crate::memory::ImageSource;
use crate::pool::{self, Counted, HandleCount};
use crate::registry::{self, CodeRegion};
use crate::sys::mapping::{Mapping, Protection};
use crate::sys::{memfd, round_up_to_page};
use cowling_abi::artifact::{
    AddressMap, CodeRange, DebugSections, ExceptionTable, FunctionTable, Header, HeaderError,
    InlineTable, InlinedCall, NameTable, TrampolineOffsets, TrampolineTable, TrapTable,
};
use cowling_abi::layout::VmLayout;
use cowling_abi::{
    DefinedFuncIndex, DefinedMemoryIndex, EntityIndex, FuncIndex, ModuleInfo, Trap, TypeIndex,
};
use sections::Sections;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use template::Template;
pub(crate) use template::holds_functions;
use types::ModuleTypes;

/// How much of an artifact is checked when it is loaded.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Length, header with its own checksum, compatibility, and bounds. Code, and where each function's is, are trusted to be what the
    /// compiler wrote.
    HeaderOnly,
    /// The checksum of the whole content too: reads every byte.
    Full,
}

/// Where machine code runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TextPages {
    /// In the artifact's pages, which processes share that have mapped the same file.
    OfFile,
    /// In a copy that is of no file: the system's profiler believes that what is mapped from a file is described there, and looks at
    /// nothing else that it is told.
    Detached,
}

/// An artifact was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system refused something.
    #[error("cannot load artifact: {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not an artifact for this engine, or not whole.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It contradicts itself. The compiler never writes such an artifact.
    #[error("artifact is malformed: {0}")]
    Malformed(String),
    /// Its types cannot be had.
    #[error(transparent)]
    Types(#[from] TypeError),
}

impl LoadError {
    fn io(what: &'static str) -> impl Fn(io::Error) -> LoadError {
        move |source| LoadError::Io { what, source }
    }
}

/// A function that was inlined.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Inlined {
    /// The function.
    pub func: FuncIndex,
    /// Offset in the WebAssembly binary of the call of it, if known.
    pub call: Option<u32>,
}

/// Where in a module an instruction is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CodeLocation {
    /// The function.
    pub func: FuncIndex,
    /// Where the function's code begins in `.text`.
    pub start: u32,
    /// Bytes from the start of the function's code.
    pub offset: u32,
}

impl CodeLocation {
    /// Offset in `.text`.
    pub fn text_offset(&self) -> u32 {
        self.start + self.offset
    }
}

/// A module in memory, ready to be instantiated.
#[derive(Debug)]
pub struct CompiledModule {
    id: u64,
    info: ModuleInfo,
    layout: VmLayout,
    types: ModuleTypes,
    template: Template,
    handles: HandleCount,
    code: Option<Code>,
}

/// The artifact behind a module.
#[derive(Debug)]
struct Code {
    mapping: Mapping,
    sections: Sections,
    /// The file, if memories are to be mapped from it.
    file: Option<OwnedFd>,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Code {
    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        // SAFETY: the mapping is readable and nobody writes to it as long as it exists: it is a private mapping, of a sealed memory
        // file or of a file that its provider vouches for. `get` below checks the range against the file.
        let file = unsafe {
            std::slice::from_raw_parts(self.mapping.base().as_ptr(), self.sections.image_len)
        };
        file.get(range.clone()).unwrap_or_default()
    }

    fn text(&self) -> Range<usize> {
        let base = self.mapping.base().addr().get();
        base + self.sections.text.start..base + self.sections.text.end
    }

    /// Whole pages of the mapping that have the text, and nothing that is written.
    fn text_pages(&self) -> Range<usize> {
        let end = round_up_to_page(self.sections.text.end).unwrap_or(usize::MAX);
        self.sections.text.start..end
    }

    /// Replaces the text's pages by a copy that is of no file.
    fn detach_text(&self) -> io::Result<()> {
        let pages = self.text_pages();
        let copy = Mapping::reserve(pages.len())?;
        // SAFETY: nobody else has the new mapping.
        unsafe { copy.protect(0..pages.len(), Protection::ReadWrite)? };
        let from = self.mapping.at(pages.start).as_ptr();
        // SAFETY: the text's pages are readable and stay as they are; those of the copy are as many, writable, and nobody else's.
        unsafe { from.copy_to_nonoverlapping(copy.base().as_ptr(), pages.len()) };
        // SAFETY: at once, pages are replaced by others with the same contents, so whoever reads them does not notice; nothing runs
        // there yet. What the copy leaves behind is not used.
        unsafe { copy.move_pages(0..pages.len(), &self.mapping, pages.start) }
    }

    /// Where in the text the code of a function is: always inside it.
    fn range(&self, index: DefinedFuncIndex) -> Option<CodeRange> {
        let functions = FunctionTable(self.bytes(&self.sections.functions));
        check::code_range(functions, index, self.sections.text.len())
    }

    fn address(&self, text_offset: u32) -> *const u8 {
        self.mapping
            .at(self.sections.text.start + text_offset as usize)
            .as_ptr()
    }
}

impl CompiledModule {
    /// Loads an artifact from memory. It is copied once, into a file in memory.
    ///
    /// # Errors
    /// When it is not a whole artifact for this engine, or the system refuses memory.
    ///
    /// # Trust
    /// The artifact must be what Cowling's compiler wrote: its code will run. [`Verify::Full`] notices accidents, not malice.
    /// This crate cannot check that; callers say that they have by what they require of their own callers.
    pub fn load_bytes(
        artifact: &[u8],
        engine: &Header,
        types: &Arc<TypeRegistry>,
        verify: Verify,
        text: TextPages,
    ) -> Result<Arc<CompiledModule>, LoadError> {
        // Everything that can be refused is refused before the copy.
        let sections = sections::check(artifact, engine, verify)?;
        let file =
            memfd::sealed("cowling-artifact", artifact).map_err(LoadError::io("copying it"))?;
        Self::map(file, sections, types, verify, text)
    }

    /// Loads an artifact by mapping its file.
    ///
    /// # Errors
    /// When it is not a whole artifact for this engine, or the system refuses to map it, for example because it lies on a file
    /// system that forbids execution.
    ///
    /// # Trust
    /// As for [`load_bytes`](Self::load_bytes), and the file's contents must stay as they are while the module exists. The metadata
    /// are those that the file has now.
    pub fn load_file(
        file: File,
        metadata: &Metadata,
        engine: &Header,
        types: &Arc<TypeRegistry>,
        verify: Verify,
        text: TextPages,
    ) -> Result<Arc<CompiledModule>, LoadError> {
        if !metadata.is_file() {
            return Err(HeaderError::NotAnArtifact("not a regular file").into());
        }
        let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        if len == 0 {
            return Err(HeaderError::NotAnArtifact("empty file").into());
        }
        let file = OwnedFd::from(file);
        let mapping = Mapping::file(file.as_fd(), len).map_err(LoadError::io("mapping it"))?;
        // SAFETY: the mapping is readable and has `len` bytes (rounded up), which the caller keeps as they are.
        let bytes = unsafe { std::slice::from_raw_parts(mapping.base().as_ptr(), len) };
        let sections = sections::check(bytes, engine, verify)?;
        Self::finish(mapping, file, sections, types, verify, text)
    }

    /// A module that has facts but no code: for memories, tables, globals and tags that the host creates. Its types are
    /// `of_host`; what else the facts name they name by number.
    ///
    /// # Errors
    /// When the facts contradict themselves, or there are functions, data segments or images.
    pub fn without_code(
        mut info: ModuleInfo,
        types: &Arc<TypeRegistry>,
        of_host: &[RegisteredType],
    ) -> Result<Arc<CompiledModule>, LoadError> {
        if info.defined_func_count() > 0 {
            return Err(LoadError::Malformed("functions without code".into()));
        }
        let types = ModuleTypes::of_host(types, &mut info, of_host)?;
        let layout = check::info(&info, None)?;
        let template = Template::new(&info);
        Ok(Arc::new(CompiledModule {
            id: next_id(),
            info,
            layout,
            types,
            template,
            handles: HandleCount::default(),
            code: None,
        }))
    }

    fn map(
        file: OwnedFd,
        sections: Sections,
        types: &Arc<TypeRegistry>,
        verify: Verify,
        text: TextPages,
    ) -> Result<Arc<CompiledModule>, LoadError> {
        let mapping =
            Mapping::file(file.as_fd(), sections.image_len).map_err(LoadError::io("mapping it"))?;
        Self::finish(mapping, file, sections, types, verify, text)
    }

    fn finish(
        mapping: Mapping,
        file: OwnedFd,
        sections: Sections,
        types: &Arc<TypeRegistry>,
        verify: Verify,
        text: TextPages,
    ) -> Result<Arc<CompiledModule>, LoadError> {
        let mut code = Code {
            mapping,
            sections,
            file: None,
        };
        let mut info: ModuleInfo = postcard::from_bytes(code.bytes(&code.sections.info))
            .map_err(|error| LoadError::Malformed(format!("its facts do not decode: {error}")))?;
        let layout = check::info(&info, Some(&code.sections))?;
        let text_len = code.sections.text.len();
        let functions = FunctionTable(code.bytes(&code.sections.functions));
        let trampolines = TrampolineTable(code.bytes(&code.sections.trampolines));
        check::tables(&info, functions, trampolines, text_len)?;
        if verify == Verify::Full {
            check::functions(functions, text_len)?;
        }
        if text_len > 0 {
            if text == TextPages::Detached {
                code.detach_text()
                    .map_err(LoadError::io("copying its code"))?;
            }
            // SAFETY: the pages stay readable, which is all that references to them need; nothing runs there yet.
            unsafe {
                code.mapping
                    .protect(code.text_pages(), Protection::ReadExecute)
            }
            .map_err(LoadError::io("making its code executable"))?;
        }
        // The file is kept only if something will be mapped from it: descriptors are scarcer than modules.
        code.file = info
            .memory_images
            .values()
            .any(Option::is_some)
            .then_some(file);
        let types = ModuleTypes::intern(types, &mut info)?;
        let template = Template::new(&info);
        let module = Arc::new_cyclic(|weak: &Weak<CompiledModule>| {
            if text_len > 0 {
                registry::register(CodeRegion::new(
                    code.text(),
                    code.bytes(&code.sections.traps),
                    code.bytes(&code.sections.functions),
                    code.sections.counts_fuel,
                    weak.clone(),
                ));
            }
            CompiledModule {
                id: next_id(),
                info,
                layout,
                types,
                template,
                handles: HandleCount::default(),
                code: Some(code),
            }
        });
        Ok(module)
    }

    /// Its number, which no other module of the process ever has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its facts.
    pub fn info(&self) -> &ModuleInfo {
        &self.info
    }

    /// Layout of its instances' VMContext.
    pub fn layout(&self) -> &VmLayout {
        &self.layout
    }

    /// What its instances begin with.
    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    /// Does the embedder hold it?
    pub(crate) fn is_held(&self) -> bool {
        self.handles.any()
    }

    /// Notes that an instance of it is kept warm.
    pub(crate) fn note_kept(&self) {
        self.handles.note_kept();
    }

    /// The registry its types are numbered by.
    pub fn type_registry(&self) -> &Arc<TypeRegistry> {
        self.types.registry()
    }

    /// The engine-wide number of each of its types; a type has its number as long as the module exists.
    pub fn type_ids(&self) -> &[u32] {
        self.types.ids()
    }

    /// One of its types, kept.
    ///
    /// # Panics
    /// If it has no such type.
    pub fn registered_type(&self, index: TypeIndex) -> RegisteredType {
        let ty = (self.types.registry()).get(self.type_ids()[index.as_u32() as usize]);
        ty.unwrap_or_else(|| unreachable!("a module keeps its types"))
    }

    /// Fits a function or tag of this type an import of the module?
    pub fn import_accepts(&self, import: EntityIndex, ty: &RegisteredType) -> bool {
        let id = |index: TypeIndex| self.type_ids()[index.as_u32() as usize];
        Arc::ptr_eq(ty.registry(), self.type_registry())
            && match import {
                EntityIndex::Func(i) => {
                    let expected = id(self.info.functions[i].ty);
                    self.type_registry().is_subtype(ty.id(), expected)
                }
                EntityIndex::Tag(i) => ty.id() == id(self.info.tags[i]),
                _ => false,
            }
    }

    /// The whole artifact; empty for a module without code.
    pub fn artifact_bytes(&self) -> &[u8] {
        match &self.code {
            Some(code) => code.bytes(&(0..code.sections.image_len)),
            None => &[],
        }
    }

    /// Addresses of the artifact as it is mapped; none for a module without code.
    pub fn image(&self) -> Range<*const u8> {
        self.artifact_bytes().as_ptr_range()
    }

    /// Its machine code; empty for a module without code.
    pub fn text(&self) -> &[u8] {
        match &self.code {
            Some(code) => code.bytes(&code.sections.text),
            None => &[],
        }
    }

    /// Where in [`text`](Self::text) the code of a function is.
    pub fn code_range(&self, index: DefinedFuncIndex) -> Option<CodeRange> {
        self.code.as_ref()?.range(index)
    }

    /// Which places of the binary the code from which offset of [`text`](Self::text) on comes from. Empty if that was not kept.
    pub fn address_map(&self) -> AddressMap<'_> {
        AddressMap(match &self.code {
            Some(code) => code.bytes(&code.sections.addresses),
            None => &[],
        })
    }

    /// Which trap it means if the instruction at this offset of [`text`](Self::text) traps, if it is one that may.
    pub fn trap_at(&self, text_offset: u32) -> Option<Trap> {
        let code = self.code.as_ref()?;
        let site = TrapTable(code.bytes(&code.sections.traps)).lookup(text_offset)?;
        Some(site.trap)
    }

    /// Is it one [without code](Self::without_code), which holds what the host has created?
    pub fn is_of_host(&self) -> bool {
        self.code.is_none()
    }

    /// A function's name, if the binary gives it one.
    pub fn function_name(&self, index: FuncIndex) -> Option<&str> {
        let code = self.code.as_ref()?;
        NameTable(code.bytes(&code.sections.names)).get(index)
    }

    /// Address of a function's code, or `None` if the module has no such function.
    pub(crate) fn func_code(&self, index: DefinedFuncIndex) -> Option<*const u8> {
        let code = self.code.as_ref()?;
        Some(code.address(code.range(index)?.offset))
    }

    fn trampolines(&self, index: TypeIndex) -> Option<(&Code, TrampolineOffsets)> {
        let code = self.code.as_ref()?;
        let offsets = TrampolineTable(code.bytes(&code.sections.trampolines)).get(index)?;
        Some((code, offsets))
    }

    /// Address of a type's entry trampoline, or `None` if the module has no such type or no code.
    pub(crate) fn entry_trampoline(&self, index: TypeIndex) -> Option<*const u8> {
        let (code, offsets) = self.trampolines(index)?;
        Some(code.address(offsets.entry))
    }

    /// Address of a type's host shim, or `None` if the module has no such type or no code.
    pub(crate) fn host_shim(&self, index: TypeIndex) -> Option<*const u8> {
        let (code, offsets) = self.trampolines(index)?;
        Some(code.address(offsets.host_shim))
    }

    /// Bytes of a data segment; `range` as [`cowling_abi::module::DataSegment::bytes`] has it.
    pub(crate) fn data_bytes(&self, range: &Range<u64>) -> &[u8] {
        let bytes = self.code.as_ref().and_then(|code| {
            let start = usize::try_from(range.start).ok()?;
            let end = usize::try_from(range.end).ok()?;
            code.bytes(&code.sections.data).get(start..end)
        });
        bytes.unwrap_or_default()
    }

    /// What a memory starts with, if it was laid out ahead of time.
    pub(crate) fn memory_image(&self, index: DefinedMemoryIndex) -> Option<ImageSource<'_>> {
        let image = self.info.memory_images.get(index)?.as_ref()?;
        let code = self.code.as_ref()?;
        let start = usize::try_from(image.bytes.start).ok()?;
        let end = usize::try_from(image.bytes.end).ok()?;
        Some(ImageSource {
            bytes: code.bytes(&code.sections.images).get(start..end)?,
            file: code.file.as_ref()?.as_fd(),
            file_offset: code.sections.images.start as u64 + image.bytes.start,
            memory_offset: usize::try_from(image.memory_offset).ok()?,
        })
    }

    /// What to do when an exception passes a call. Its offsets are [`text_offset`](Self::text_offset)s.
    pub(crate) fn exceptions(&self) -> ExceptionTable<'_> {
        ExceptionTable(match &self.code {
            Some(code) => code.bytes(&code.sections.exceptions),
            None => &[],
        })
    }

    /// Do references to functions occur in objects of its types?
    pub(crate) fn has_functions_in_objects(&self) -> bool {
        self.template.functions_in_objects
    }

    /// The types of objects it declares, kept.
    pub(crate) fn object_types(&self) -> impl Iterator<Item = RegisteredType> + '_ {
        let types = self.info.types.iter();
        let objects = types.filter(|(_, ty)| ty.composite.as_func().is_none());
        objects.map(|(index, _)| self.registered_type(index))
    }

    /// Addresses of the module's text.
    pub(crate) fn text_addresses(&self) -> Range<usize> {
        self.code.as_ref().map_or(0..0, Code::text)
    }

    /// Offset of an address in the module's text, or `None` if it is elsewhere.
    pub(crate) fn text_offset(&self, pc: usize) -> Option<u32> {
        let text = self.code.as_ref()?.text();
        text.contains(&pc)
            .then(|| u32::try_from(pc - text.start).ok())
            .flatten()
    }

    /// Address of a text offset, or `None` if the text is shorter.
    pub(crate) fn text_address(&self, offset: u32) -> Option<*const u8> {
        let code = self.code.as_ref()?;
        ((offset as usize) < code.sections.text.len()).then(|| code.address(offset))
    }

    /// Which function an address is in and where. An address behind a call belongs to the next instruction: pass one inside the
    /// instruction.
    pub(crate) fn lookup_pc(&self, pc: usize) -> Option<CodeLocation> {
        let offset = self.text_offset(pc)?;
        let code = self.code.as_ref()?;
        let (index, range) = FunctionTable(code.bytes(&code.sections.functions)).find(offset)?;
        Some(CodeLocation {
            func: self.info.func_index(index),
            start: range.offset,
            offset: offset - range.offset,
        })
    }

    /// Offset in the WebAssembly binary of the operator whose code is at a text offset, if known. Where a function's code begins it is
    /// the start of its body.
    pub(crate) fn binary_offset(&self, text_offset: u32) -> Option<u32> {
        let code = self.code.as_ref()?;
        AddressMap(code.bytes(&code.sections.addresses)).lookup(text_offset)
    }

    /// The functions that were inlined, one into the next and the last into the function whose code it is, and that the code at this
    /// offset of [`text`](Self::text) comes from, innermost first.
    pub fn inlined_at(&self, text_offset: u32) -> impl Iterator<Item = Inlined> + '_ {
        let code = self.code.as_ref();
        let table = InlineTable(code.map_or(&[], |code| code.bytes(&code.sections.inlined)));
        table
            .lookup(text_offset)
            .map_while(|call| self.inlined(call))
    }

    fn inlined(&self, call: InlinedCall) -> Option<Inlined> {
        // Nobody has checked the table.
        let exists = (call.callee.as_u32() as usize) < self.info.defined_func_count();
        exists.then(|| Inlined {
            func: self.info.func_index(call.callee),
            call: call.position,
        })
    }

    /// Offset in the WebAssembly binary at which a function's body begins, if known.
    pub(crate) fn body_start(&self, func: FuncIndex) -> Option<u32> {
        let defined = self.info.defined_func(func)?;
        self.binary_offset(self.code_range(defined)?.offset)
    }

    /// The debug information of the binary, if it was kept.
    pub fn debug_info(&self) -> Option<DebugSections<'_>> {
        let code = self.code.as_ref()?;
        DebugSections::decode(code.bytes(&code.sections.debug))
    }
}

impl Counted for CompiledModule {
    fn handles(&self) -> &HandleCount {
        &self.handles
    }

    fn released(&self) {
        pool::forget(|warm| ptr::eq(Arc::as_ptr(warm.instance().module()), self));
    }
}

impl Drop for CompiledModule {
    fn drop(&mut self) {
        if let Some(code) = &self.code
            && !code.sections.text.is_empty()
        {
            registry::unregister(code.text().start);
        }
    }
}
