//! The machine code of a module, for those who want to look at it.

use super::Module;
use cowling_abi::artifact::CodeRange;
use cowling_abi::{DefinedFuncIndex, EntityIndex, FuncIndex, Trap};
use std::collections::HashMap;
use std::ops::Range;

/// A function of a module, and where its machine code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFunction {
    /// Its number in the module; imported functions come first.
    pub index: FuncIndex,
    /// Its name, if the binary's name section gives it one.
    pub name: Option<String>,
    /// The first name under which it is exported, if it is.
    pub export: Option<String>,
    /// Where its code begins in [`Module::text`], in bytes.
    pub offset: usize,
    /// Bytes of its code.
    pub len: usize,
}

/// Its machine code.
///
/// ```
/// # use cowling::*;
/// let engine = Engine::default();
/// let module = Module::new(&engine, "(module (func $double (param i32) (result i32) local.get 0 i32.const 1 i32.shl))")?;
/// let function = module.functions().next().unwrap();
/// assert_eq!(function.name.as_deref(), Some("double"));
/// let code = &module.text()[function.offset..][..function.len];
/// assert!(!code.is_empty());
/// # Ok::<(), Error>(())
/// ```
impl Module {
    /// The machine code: that of its functions, and of the ways between host and guest.
    pub fn text(&self) -> &[u8] {
        self.code().text()
    }

    /// The functions that it defines, in order of their number, which is that of their code, too.
    pub fn functions<'a>(&'a self) -> impl ExactSizeIterator<Item = ModuleFunction> + 'a {
        let code = self.code();
        let info = code.info();
        let mut exports = HashMap::new();
        for (name, entity) in &info.exports {
            if let EntityIndex::Func(index) = entity {
                exports.entry(*index).or_insert(name.as_str());
            }
        }
        (0..info.defined_func_count() as u32).map(move |defined| {
            let defined = DefinedFuncIndex::from_u32(defined);
            let range = code.code_range(defined);
            // Missing only in an artifact that was altered since it was checked.
            let range = range.unwrap_or(CodeRange { offset: 0, len: 0 });
            let index = info.func_index(defined);
            ModuleFunction {
                index,
                name: code.function_name(index).map(str::to_string),
                export: exports.get(&index).map(|name| name.to_string()),
                offset: range.offset as usize,
                len: range.len as usize,
            }
        })
    }

    /// Which places in the binary its machine code comes from: offsets in [`text`](Self::text), in order, each with the offset in the
    /// binary that the code from there up to the next entry comes from, if it comes from anywhere.
    ///
    /// `None` if that was not kept: see [`Config::generate_address_map`](crate::Config::generate_address_map).
    pub fn address_map<'a>(&'a self) -> Option<impl Iterator<Item = (usize, Option<u32>)> + 'a> {
        let kept = self.engine().config().knobs().generate_address_map;
        let entries = self.code().address_map().iter();
        kept.then(|| entries.map(|(offset, position)| (offset as usize, position)))
    }

    /// The functions that the code at this offset in [`text`](Self::text) comes from although it is that of another: it was
    /// [inlined](crate::Config::compiler_inlining) there. The innermost first; the last was inlined into the function whose code it is.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module
    ///     (memory 1)
    ///     (func $set (param i32) (i32.store (local.get 0) (i32.const 1)))
    ///     (func $run (param i32) (call $set (local.get 0))))"#)?;
    /// let run = module.functions().nth(1).unwrap();
    /// let mut offsets = run.offset..run.offset + run.len;
    /// assert!(offsets.any(|offset| module.inlined_at(offset).next().is_some_and(|index| index.as_u32() == 0)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn inlined_at(&self, offset: usize) -> impl Iterator<Item = FuncIndex> {
        let offset = u32::try_from(offset).ok();
        let inlined = offset.map(|offset| self.code().inlined_at(offset));
        inlined.into_iter().flatten().map(|inlined| inlined.func)
    }

    /// Which trap it is if the instruction at this offset in [`text`](Self::text) faults; `None` for instructions that may not.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, "(module (func unreachable))")?;
    /// let function = module.functions().next().unwrap();
    /// let mut offsets = function.offset..function.offset + function.len;
    /// assert_eq!(offsets.find_map(|offset| module.trap_at(offset)), Some(Trap::UnreachableCodeReached));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn trap_at(&self, offset: usize) -> Option<Trap> {
        self.code().trap_at(u32::try_from(offset).ok()?)
    }

    /// The addresses at which its artifact is mapped, machine code included: to have them locked in memory, for example. Nobody may
    /// write there, or change how the pages may be accessed.
    pub fn image_range(&self) -> Range<*const u8> {
        self.code().image()
    }
}
