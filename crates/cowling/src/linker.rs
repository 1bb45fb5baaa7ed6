//! Linkers: imports by name.
//!
//! | file | job |
//! |---|---|
//! | this | [`Linker`]: defining, finding, instantiating |
//! | [`definition`] | what a name stands for, and whether it fits an import |
//! | [`command`] | modules as definitions: commands and reactors |
//! | [`unknown`] | stand-ins for imports nobody defines |

mod command;
mod definition;
mod unknown;

use crate::engine::Engine;
use crate::error::{Context, Error, Result, UnknownImportError, WrongStore, bail, ensure};
use crate::externs::Extern;
use crate::func::asynchronous::{async_host_func, dynamic_async_host_func};
use crate::func::env::{dynamic_env_func, for_each_store};
use crate::func::unchecked::raw_host_func;
use crate::func::{
    Caller, FunctionEnvMut, IntoEnvFunc, IntoFunc, WasmRet, WasmTyList, dynamic_host_func,
};
use crate::instance::{self, Instance, InstancePre};
use crate::module::Module;
use crate::store::{AsContext, AsContextMut, StoreContextMut, StoreData};
use crate::types::{FuncType, ImportType};
use crate::val::Val;
use cowling_vm::{ImportValue, Trusted, ValRaw};
use definition::Definition;
use std::collections::BTreeMap;
use std::fmt;
use std::mem::MaybeUninit;

/// Definitions by name, from which modules get their imports.
///
/// ```
/// # use cowling::*;
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "twice", |x: i32| x * 2)?;
/// let module = Module::new(&engine, r#"(module
///     (import "host" "twice" (func $twice (param i32) (result i32)))
///     (func (export "run") (result i32) (call $twice (i32.const 21))))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = linker.instantiate(&mut store, &module)?;
/// let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
/// assert_eq!(run.call(&mut store, ())?, 42);
/// # Ok::<(), Error>(())
/// ```
///
/// Host functions belong to the linker and work in any store of its engine. What was made in a store works in that store only.
pub struct Linker<T> {
    engine: Engine,
    /// By first and second part of the name.
    modules: BTreeMap<String, BTreeMap<String, Definition<T>>>,
    /// By second part alone: what is used when the whole name is not defined.
    names: BTreeMap<String, Definition<T>>,
    allow_shadowing: bool,
    allow_unknown_exports: bool,
}

impl<T: 'static> Linker<T> {
    /// A linker without definitions.
    pub fn new(engine: &Engine) -> Linker<T> {
        Linker {
            engine: engine.clone(),
            modules: BTreeMap::new(),
            names: BTreeMap::new(),
            allow_shadowing: false,
            allow_unknown_exports: false,
        }
    }

    /// The engine it was made with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// May a name be defined again, replacing what it stood for? By default that is an error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.allow_shadowing = allow;
        self
    }

    /// May commands given to [`Linker::module`] export things other than functions and what toolchains always export? They
    /// are left out then. By default that is an error.
    pub fn allow_unknown_exports(&mut self, allow: bool) -> &mut Self {
        self.allow_unknown_exports = allow;
        self
    }

    /// Defines a name as something in a store.
    ///
    /// # Errors
    /// When the name is defined already, the item is another store's, or the store of another engine than the linker.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        let definition = self.definition_of(store, item.into());
        let definition = definition.with_context(|| format!("{module:?}.{name:?}"))?;
        self.insert(module, name, definition)
    }

    /// Defines the second part of a name, whatever the first part is, as something in a store. It is used for imports whose
    /// whole name is not defined.
    ///
    /// # Errors
    /// When the name is defined already, the item is another store's, or the store of another engine than the linker.
    pub fn define_name(
        &mut self,
        store: impl AsContext<Data = T>,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        let definition = self.definition_of(store, item.into());
        let definition = definition.with_context(|| format!("{name:?}"))?;
        if !self.allow_shadowing && self.names.contains_key(name) {
            bail!("{name:?} is defined already");
        }
        self.names.insert(name.to_string(), definition);
        Ok(self)
    }

    /// Defines a name as a host function whose type is known only when the program runs. See [`Func::new`](crate::Func::new).
    ///
    /// # Errors
    /// When the name is defined already.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        let ty = ty.adopt(self.engine.types())?;
        self.insert(module, name, Definition::Host(dynamic_host_func(ty, func)))
    }

    fn func_new_trusted<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: Trusted<F>,
    ) -> Result<&mut Self>
    where
        F: Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static,
    {
        let ty = ty.adopt(self.engine.types())?;
        self.insert(module, name, Definition::Host(raw_host_func(ty, func)))
    }

    cowling_vm::on_trust! {
        /// Defines a name as a host function that handles raw values. See [`Func::new_unchecked`](crate::Func::new_unchecked).
        ///
        /// # Errors
        /// When the name is defined already.
        ///
        /// # Safety
        /// As for [`Func::new_unchecked`](crate::Func::new_unchecked).
        pub unsafe fn func_new_unchecked(
            &mut self,
            module: &str,
            name: &str,
            ty: FuncType,
            trusted func: impl Fn(Caller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync + 'static
        ) -> Result<&mut Self> => Linker::func_new_trusted;
    }

    /// Defines a name as a host function from a closure whose type says all. See [`IntoFunc`].
    ///
    /// # Errors
    /// When the name is defined already.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self> {
        self.insert(module, name, Definition::Host(func.into_func()))
    }

    /// Defines a name as a host function with state of its own, from a closure whose type says all. Each store has its own state: `init`
    /// makes it when the function is first called there, and it is dropped with the store. See
    /// [`FunctionEnv`](crate::FunctionEnv).
    ///
    /// ```
    /// use cowling::*;
    ///
    /// let engine = Engine::default();
    /// let mut linker = Linker::<()>::new(&engine);
    /// linker.func_wrap_with_env("host", "next", |_| Ok(10), |mut env: FunctionEnvMut<'_, (), i32>| {
    ///     *env.data_mut() += 1;
    ///     *env.data()
    /// })?;
    /// let text = r#"(module (import "host" "next" (func $next (result i32))) (export "next" (func $next)))"#;
    /// let module = Module::new(&engine, text)?;
    /// for _ in 0..2 {
    ///     let mut store = Store::new(&engine, ());
    ///     let instance = linker.instantiate(&mut store, &module)?;
    ///     let next = instance.get_typed_func::<(), i32>(&mut store, "next")?;
    ///     assert_eq!((next.call(&mut store, ())?, next.call(&mut store, ())?), (11, 12));
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the name is defined already. What `init` fails with is the error of the call.
    pub fn func_wrap_with_env<E: Send + Sync + 'static, Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        init: impl Fn(StoreContextMut<'_, T>) -> Result<E> + Send + Sync + 'static,
        func: impl IntoEnvFunc<T, E, Params, Results>,
    ) -> Result<&mut Self> {
        let func = func.into_func(for_each_store(init));
        self.insert(module, name, Definition::Host(func))
    }

    /// As [`func_wrap_with_env`](Self::func_wrap_with_env), for a type that is known only when the program runs.
    ///
    /// # Errors
    /// As for that.
    pub fn func_new_with_env<E: Send + Sync + 'static>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        init: impl Fn(StoreContextMut<'_, T>) -> Result<E> + Send + Sync + 'static,
        func: impl Fn(FunctionEnvMut<'_, T, E>, &[Val], &mut [Val]) -> Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Result<&mut Self> {
        let ty = ty.adopt(self.engine.types())?;
        let func = dynamic_env_func(ty, for_each_store(init), func);
        self.insert(module, name, Definition::Host(func))
    }

    /// Defines a name as a host function that may wait and whose type is known only when the program runs. See
    /// [`Func::new_async`](crate::Func::new_async).
    ///
    /// # Errors
    /// When the name is defined already.
    pub fn func_new_async<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: F,
    ) -> Result<&mut Self>
    where
        T: Send,
        F: for<'a> Fn(
                Caller<'a, T>,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let ty = ty.adopt(self.engine.types())?;
        let func = dynamic_async_host_func(ty, func);
        self.insert(module, name, Definition::Host(func))
    }

    /// Defines a name as a host function that may wait, from a closure whose type says all. Its parameters come as one tuple.
    /// See [`Func::wrap_async`](crate::Func::wrap_async).
    ///
    /// # Errors
    /// When the name is defined already.
    pub fn func_wrap_async<F, P, R>(
        &mut self,
        module: &str,
        name: &str,
        func: F,
    ) -> Result<&mut Self>
    where
        T: Send,
        F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
            + Send
            + Sync
            + 'static,
        P: WasmTyList,
        R: WasmRet,
    {
        self.insert(module, name, Definition::Host(async_host_func(func)))
    }

    /// Defines all exports of an instance, with `module_name` as the first part of their names.
    ///
    /// # Errors
    /// When a name is defined already, or the instance is another store's or has been removed.
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        ensure!(
            instance.to_vm().store_id() == store.0.id(),
            "instance for {module_name:?}: {WrongStore}"
        );
        // One that has been removed seems to have no exports.
        let module = store.inner().instance_module(instance.to_vm());
        module
            .map_err(Error::from)
            .with_context(|| format!("instance for {module_name:?}"))?;
        let exports: Vec<_> = instance
            .exports(&mut store)
            .map(|export| (export.name().to_string(), export.into_extern()))
            .collect();
        for (name, item) in exports {
            self.define(&store, module_name, &name, item)?;
        }
        Ok(self)
    }

    /// Defines a name as what another one stands for.
    ///
    /// # Errors
    /// When the new name is defined already, or the other one is not.
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Self> {
        let Some(definition) = self.definition(module, name).cloned() else {
            bail!("{module:?}.{name:?} cannot be aliased: it is not defined");
        };
        self.insert(as_module, as_name, definition)
    }

    /// Defines every name whose first part is `module` again, with `as_module` as the first part.
    ///
    /// # Errors
    /// When a new name is defined already, or nothing is defined for `module`.
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        let Some(definitions) = self.modules.get(module).cloned() else {
            bail!("{module:?} cannot be aliased: nothing is defined for it");
        };
        for (name, definition) in definitions {
            self.insert(as_module, &name, definition)?;
        }
        Ok(())
    }

    /// Instantiates a module with imports from here.
    ///
    /// # Errors
    /// As [`Linker::instantiate_pre`] and [`InstancePre::instantiate`].
    pub fn instantiate(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        // Not by an `InstancePre`, which would be gone when the store is dropped, and with it the slot.
        instance::instantiate(&mut store.as_context_mut(), module, &self.imports(module)?)
    }

    /// Instantiates a module with imports from here; asynchronous host functions that its start function calls may wait.
    ///
    /// # Errors
    /// As [`Linker::instantiate_pre`] and [`InstancePre::instantiate_async`].
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance>
    where
        T: Send,
    {
        let imports = self.imports(module)?.into();
        instance::instantiate_async(&mut store.as_context_mut(), module, imports).await
    }

    /// Finds and checks the imports of a module, once for many instances.
    ///
    /// # Errors
    /// [`UnknownImportError`] when one is not defined, [`LinkError`](crate::LinkError) when one is of another type; or when the
    /// module is of another engine.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        Ok(InstancePre::new(module, self.imports(module)?))
    }

    fn check_engine(&self, what: &str, engine: &Engine) -> Result<()> {
        ensure!(
            Engine::same(&self.engine, engine),
            "{what} belongs to another engine than the linker"
        );
        Ok(())
    }

    fn definition_of(
        &self,
        store: impl AsContext<Data = T>,
        item: Extern,
    ) -> Result<Definition<T>> {
        self.check_engine("store", store.as_context().engine())?;
        Definition::of(store, item)
    }

    /// What a module gets for its imports, checked.
    fn imports(&self, module: &Module) -> Result<Vec<ImportValue<StoreData<T>>>> {
        self.check_engine("module", module.engine())?;
        let imports = &module.code().info().imports;
        imports
            .iter()
            .zip(module.imports())
            .map(|(import, ty)| {
                let definition = self.find(&ty).ok_or_else(|| UnknownImportError::new(&ty))?;
                definition.check(module.code(), import)?;
                Ok(definition.to_import())
            })
            .collect()
    }

    /// What a name stands for. A host function becomes a new function of the store.
    ///
    /// # Errors
    /// When the name is not defined, or the store is of another engine than the linker.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Result<Extern> {
        self.check_engine("store", store.as_context_mut().engine())?;
        match self.definition(module, name) {
            Some(definition) => Ok(definition.to_extern(store)),
            None => bail!("{module:?}.{name:?} is not defined"),
        }
    }

    /// What an import would get. A host function becomes a new function of the store. Nothing in a store of another engine than the
    /// linker's.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.try_get_by_import(store, import).ok().flatten()
    }

    /// As [`get_by_import`](Self::get_by_import), for those who ask for the error.
    ///
    /// # Errors
    /// When the store is of another engine than the linker. When the system has no memory for the host's own data, the process ends.
    pub fn try_get_by_import(
        &self,
        mut store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Result<Option<Extern>> {
        self.check_engine("store", store.as_context_mut().engine())?;
        Ok(self.find(import).map(|found| found.to_extern(store)))
    }

    /// Every name and what it stands for, in order of names. Host functions become new functions of the store. Nothing in a store of
    /// another engine than the linker's.
    pub fn iter<'a>(
        &'a self,
        mut store: impl AsContextMut<Data = T> + 'a,
    ) -> impl Iterator<Item = (&'a str, &'a str, Extern)> + 'a {
        let ours = Engine::same(&self.engine, store.as_context_mut().engine());
        let modules = ours.then_some(&self.modules).into_iter().flatten();
        modules
            .flat_map(|(module, names)| names.iter().map(move |(name, d)| (module, name, d)))
            .map(move |(module, name, d)| (module.as_str(), name.as_str(), d.to_extern(&mut store)))
    }

    fn definition(&self, module: &str, name: &str) -> Option<&Definition<T>> {
        self.modules.get(module)?.get(name)
    }

    fn find(&self, import: &ImportType<'_>) -> Option<&Definition<T>> {
        self.definition(import.module(), import.name())
            .or_else(|| self.names.get(import.name()))
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition<T>) -> Result<&mut Self> {
        if !self.allow_shadowing && self.definition(module, name).is_some() {
            bail!("{module:?}.{name:?} is defined already");
        }
        if !self.modules.contains_key(module) {
            self.modules.insert(module.to_string(), BTreeMap::new());
        }
        if let Some(names) = self.modules.get_mut(module) {
            names.insert(name.to_string(), definition);
        }
        Ok(self)
    }
}

impl<T: 'static> Default for Linker<T> {
    /// A linker of a new engine with the default settings.
    fn default() -> Self {
        Linker::new(&Engine::default())
    }
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker {
            engine: self.engine.clone(),
            modules: self.modules.clone(),
            names: self.names.clone(),
            allow_shadowing: self.allow_shadowing,
            allow_unknown_exports: self.allow_unknown_exports,
        }
    }
}

impl<T> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linker")
            .field("modules", &self.modules.keys())
            .finish_non_exhaustive()
    }
}
