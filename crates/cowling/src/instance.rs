//! Instances, and modules that are ready to become one.

use crate::error::{Result, bail};
use crate::exception::Tag;
use crate::externs::{Export, Extern};
use crate::func::asynchronous::run_on_guest_stack;
use crate::func::{Func, TypedFunc, WasmParams, WasmResults};
use crate::gc::instantiation_error;
use crate::global::Global;
use crate::memory::Memory;
use crate::module::{Module, ModuleExport};
use crate::shared_memory::SharedMemory;
use crate::store::{AsContextMut, Store, StoreContext, StoreContextMut, StoreData};
use crate::table::Table;
use cowling_vm::spread::{Share, Spread};
use cowling_vm::{ImportValue, InstanceHandle, Linked};
use std::fmt;
use std::sync::Arc;

/// A module brought to life in a store.
///
/// Used with another store, methods that return a `Result` fail with [`WrongStore`](crate::WrongStore); the others see an
/// instance without exports.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance(InstanceHandle);

impl Instance {
    /// Instantiates a module: gives it its imports, in the order the module declares them, writes its segments, runs its start
    /// function. [`Linker`](crate::Linker) finds imports by name.
    ///
    /// # Errors
    /// [`LinkError`](crate::LinkError) when number or types of the imports do not fit;
    /// [`InstantiateError`](crate::InstantiateError) when there is no room or the module is of another engine;
    /// [`PoolConcurrencyLimitError`](crate::PoolConcurrencyLimitError) when a limit of the pool is reached;
    /// [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is none for its objects; the limiter's own error; a
    /// [`Trap`](crate::Trap) of a segment or the start function. Segments before the one that trapped stay written, as the
    /// specification says.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let imports: Vec<_> = imports.iter().map(Extern::to_import).collect();
        instantiate(&mut store.as_context_mut(), module, &imports)
    }

    /// Instantiates a module as [`Instance::new`] does; asynchronous host functions that the start function calls may wait, and so may the
    /// store's limiter.
    ///
    /// Dropping the future before it is ready cancels the start function. The store stays usable, and keeps what there is of
    /// the instance, which others may refer to.
    ///
    /// # Errors
    /// As [`Instance::new`]; [`StoreSuspended`](crate::StoreSuspended) if a computation of the store is suspended.
    pub async fn new_async<T: Send + 'static>(
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let imports: Vec<_> = imports.iter().map(Extern::to_import).collect();
        instantiate_async(&mut store.as_context_mut(), module, imports.into()).await
    }

    /// Its exports, in order of declaration.
    pub fn exports<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> impl ExactSizeIterator<Item = Export<'a>> + 'a {
        let mut store = store.into();
        let module = store.inner().instance_module(self.0);
        let entities: Vec<_> = module.map_or_else(
            |_| Vec::new(),
            |m| m.info().exports.values().copied().collect(),
        );
        let externs: Vec<_> = entities
            .into_iter()
            .filter_map(|entity| {
                let handle = store.inner_mut().instance_entity(self.0, entity);
                Some(Extern::from_vm(store.inner(), handle.ok()??))
            })
            .collect();
        let module = store.0.into_ref().inner().instance_module(self.0);
        let names = module.map_or_else(|_| Vec::new(), |m| m.info().exports.keys().collect());
        names
            .into_iter()
            .zip(externs)
            .map(|(name, definition)| Export::new(name, definition))
    }

    /// The module it was made from.
    ///
    /// # Panics
    /// If it is another store's, or has been removed from it.
    pub fn module<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a Module {
        let store = store.into();
        let code = store.inner().instance_module(self.0);
        let code = code.expect("an instance of this store");
        let make = || Module::from_code(store.engine().clone(), code.clone());
        store.0.into_data().modules().of(code, make)
    }

    /// The export of this name.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let mut store = store.as_context_mut();
        let handle = store.inner_mut().instance_export(self.0, name).ok()??;
        Some(Extern::from_vm(store.inner(), handle))
    }

    /// The export that was found in the module before. `None` if it is another module's.
    pub fn get_module_export(
        &self,
        mut store: impl AsContextMut,
        export: &ModuleExport,
    ) -> Option<Extern> {
        let mut store = store.as_context_mut();
        let entity = export.entity_of(store.inner().instance_module(self.0).ok()?)?;
        let handle = store.inner_mut().instance_entity(self.0, entity).ok()??;
        Some(Extern::from_vm(store.inner(), handle))
    }

    /// The exported function of this name.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The exported function of this name, typed. See [`Func::typed`].
    ///
    /// # Errors
    /// When there is no such function or it is of another type; the name is in the message.
    pub fn get_typed_func<Params: WasmParams, Results: WasmResults>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>> {
        let mut store = store.as_context_mut();
        store.inner().instance_module(self.0)?;
        let Some(export) = self.get_export(&mut store, name) else {
            bail!("instance has no export {name:?}");
        };
        let Extern::Func(func) = export else {
            bail!(
                "export {name:?} is not a function but of type {}",
                export.ty(&store)
            );
        };
        func.typed(&store)
            .map_err(|error| error.context(format!("export {name:?}")))
    }

    /// The exported table of this name.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The exported shared memory of this name.
    pub fn get_shared_memory(&self, store: impl AsContextMut, name: &str) -> Option<SharedMemory> {
        self.get_export(store, name)?.into_shared_memory()
    }

    /// The exported memory of this name. `None` if it is shared.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The exported exception tag of this name.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
    }

    /// The exported global of this name.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    pub(crate) fn from_vm(handle: InstanceHandle) -> Instance {
        Instance(handle)
    }

    pub(crate) fn to_vm(self) -> InstanceHandle {
        self.0
    }
}

/// A module with all its imports resolved and checked, to be instantiated many times.
pub struct InstancePre<T> {
    inner: Spread<PreInner<T>>,
}

/// What is known of a module and its imports before it is instantiated.
pub(crate) struct PreInner<T> {
    module: Module,
    imports: Arc<[ImportValue<StoreData<T>>]>,
    /// The same in a form that every store takes without looking at it, if all imports are host functions.
    linked: Option<Linked<StoreData<T>>>,
}

impl<T: 'static> InstancePre<T> {
    pub(crate) fn new(module: &Module, imports: Vec<ImportValue<StoreData<T>>>) -> Self {
        InstancePre {
            inner: Spread::new(Arc::new(PreInner {
                module: module.clone(),
                linked: Linked::new(module.code(), &imports),
                imports: imports.into(),
            })),
        }
    }

    /// This thread's reference to what it knows.
    pub(crate) fn share(&self) -> Arc<Share<PreInner<T>>> {
        self.inner.share()
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.inner.module
    }

    /// Instantiates it.
    ///
    /// # Errors
    /// As [`Instance::new`].
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let _span = tracing::debug_span!("instantiate").entered();
        let PreInner {
            module,
            imports,
            linked,
        } = &**self.inner;
        let mut store = store.as_context_mut();
        let made = match linked {
            Some(linked) => store.0.instantiate_linked(linked),
            None => store.0.instantiate(module.code(), imports),
        };
        Ok(Instance(made.map_err(instantiation_error)?))
    }

    /// Instantiates it; asynchronous host functions that the start function calls may wait.
    ///
    /// # Errors
    /// As [`Instance::new_async`].
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
    ) -> Result<Instance>
    where
        T: Send,
    {
        if !may_wait(&store.as_context_mut(), self.module()) {
            return self.instantiate(store);
        }
        let imports = self.inner.imports.clone();
        instantiate_async(&mut store.as_context_mut(), self.module(), imports).await
    }
}

impl<T: 'static> PreInner<T> {
    /// The module.
    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    /// Instantiates it without running its start function.
    ///
    /// # Errors
    /// As [`Instance::new`].
    pub(crate) fn instantiate_without_start(&self, store: &mut Store<T>) -> Result<Instance> {
        let _span = tracing::debug_span!("instantiate").entered();
        let PreInner {
            module,
            imports,
            linked,
        } = self;
        let mut store = store.vm_mut();
        let made = match linked {
            Some(linked) => store.instantiate_linked_without_start(linked),
            None => store.instantiate_without_start(module.code(), imports),
        };
        Ok(Instance(made.map_err(instantiation_error)?))
    }
}

impl<T> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        InstancePre {
            inner: self.inner.clone(),
        }
    }
}

impl<T: 'static> fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePre")
            .field("module", self.module())
            .finish_non_exhaustive()
    }
}

pub(crate) fn instantiate<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    module: &Module,
    imports: &[ImportValue<StoreData<T>>],
) -> Result<Instance> {
    let _span = tracing::debug_span!("instantiate").entered();
    let made = store.0.instantiate(module.code(), imports);
    Ok(Instance(made.map_err(instantiation_error)?))
}

/// May something have to be waited for when a module is instantiated: what a start function calls, or a limiter?
fn may_wait<T: 'static>(store: &StoreContextMut<'_, T>, module: &Module) -> bool {
    module.code().info().start.is_some() || store.inner().has_async_limiter()
}

pub(crate) async fn instantiate_async<T: Send + 'static>(
    store: &mut StoreContextMut<'_, T>,
    module: &Module,
    imports: Arc<[ImportValue<StoreData<T>>]>,
) -> Result<Instance> {
    if !may_wait(store, module) {
        return instantiate(store, module, &imports);
    }
    let module = module.clone();
    run_on_guest_stack(store.0.reborrow(), move |store| {
        instantiate(&mut StoreContextMut(store), &module, &imports)
    })
    .await
}
