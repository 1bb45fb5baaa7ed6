//! Modules as definitions.
//!
//! A *command* exports `_start`: each call of one of its exports runs in an instance of its own. Any other module is a
//! *reactor*: it is instantiated once, its `_initialize` is run, and its exports are defined.

use super::Linker;
use crate::error::{Result, bail, format_err};
use crate::externs::Extern;
use crate::func::Func;
use crate::module::Module;
use crate::store::AsContextMut;
use crate::types::ExternType;
use crate::val::Val;

/// What toolchains export from commands besides functions; of no use to another module.
const IGNORED: &[&str] = &[
    "memory",
    "__indirect_function_table",
    "__data_end",
    "__heap_base",
    "__heap_end",
    "__dso_handle",
    "__rtti_base",
    "__stack_pointer",
];

impl<T: 'static> Linker<T> {
    /// Defines the exports of a module, with `module_name` as the first part of their names.
    ///
    /// A module that exports `_start` is a command: each call of an exported function makes a new instance, which is
    /// removed when it returns, unless it returns a reference to a function. Any other module is instantiated here, and `_initialize` called if it is exported.
    ///
    /// # Errors
    /// As [`Linker::instantiate`]; when a name is defined already; when a command exports something other than functions
    /// ([`Linker::allow_unknown_exports`] leaves those out); when `_initialize` fails.
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self> {
        if let Some(ExternType::Func(_)) = module.get_export("_start") {
            return self.command(module_name, module);
        }
        let mut store = store.as_context_mut();
        let instance = self.instantiate(&mut store, module)?;
        if instance.get_func(&mut store, "_initialize").is_some() {
            let initialize = instance.get_typed_func::<(), ()>(&mut store, "_initialize")?;
            initialize.call(&mut store, ())?;
        }
        self.instance(&mut store, module_name, instance)
    }

    /// Defines the exports of a module, as [`module`](Self::module) does; asynchronous host functions that a reactor calls while it is
    /// instantiated and initialized may wait.
    ///
    /// # Errors
    /// As [`module`](Self::module).
    pub async fn module_async(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self>
    where
        T: Send,
    {
        if let Some(ExternType::Func(_)) = module.get_export("_start") {
            return self.command(module_name, module);
        }
        let mut store = store.as_context_mut();
        let instance = self.instantiate_async(&mut store, module).await?;
        if instance.get_func(&mut store, "_initialize").is_some() {
            let initialize = instance.get_typed_func::<(), ()>(&mut store, "_initialize")?;
            initialize.call_async(&mut store, ()).await?;
        }
        self.instance(&mut store, module_name, instance)
    }

    fn command(&mut self, module_name: &str, module: &Module) -> Result<&mut Self> {
        let pre = self.instantiate_pre(module)?;
        for export in module.exports() {
            match export.ty() {
                ExternType::Func(ty) => {
                    let pre = pre.clone();
                    let name = export.name().to_string();
                    self.func_new(
                        module_name,
                        export.name(),
                        ty,
                        move |mut caller, params, results| {
                            let instance = pre.instantiate(&mut caller)?;
                            let func = instance.get_func(&mut caller, &name);
                            let called = func
                                .ok_or_else(|| format_err!("command has no function {name:?}"))
                                .and_then(|func| func.call(&mut caller, params, results));
                            let refers = |result: &Val| matches!(result, Val::FuncRef(Some(_)));
                            if !results.iter().any(refers) {
                                instance.remove(&mut caller)?;
                            }
                            called
                        },
                    )?;
                }
                _ if self.allow_unknown_exports || IGNORED.contains(&export.name()) => {}
                ty => bail!(
                    "command exports {:?}, which is not a function but of type {ty}",
                    export.name()
                ),
            }
        }
        Ok(self)
    }

    /// What running a module defined as `module` means: its export with an empty name, or `_start`, or nothing.
    ///
    /// # Errors
    /// When that export is not a function, or the store is of another engine than the linker.
    pub fn get_default(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
    ) -> Result<Func> {
        let mut store = store.as_context_mut();
        self.check_engine("store", store.engine())?;
        for name in ["", "_start"] {
            let definition = self.definition(module, name);
            match definition.map(|definition| definition.to_extern(&mut store)) {
                None => {}
                Some(Extern::Func(func)) => return Ok(func),
                Some(other) => bail!(
                    "{module:?}.{name:?} is not a function but of type {}",
                    other.ty(&store)
                ),
            }
        }
        Ok(Func::wrap(store, || {}))
    }
}
