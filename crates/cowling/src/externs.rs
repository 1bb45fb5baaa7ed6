//! What instances export and import, whatever its kind.

use crate::error::{Result, format_err};
use crate::exception::Tag;
use crate::func::Func;
use crate::global::Global;
use crate::memory::Memory;
use crate::shared_memory::SharedMemory;
use crate::store::{AsContext, AsContextMut};
use crate::table::Table;
use crate::types::{ExternType, FuncType, GlobalType, MemoryType, TableType, TagType, ValType};
use crate::val::{Ref, Val};
use cowling_vm::{ExternHandle, ImportValue, StoreInner};

/// Something an instance can export or import.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A memory that is not shared.
    Memory(Memory),
    /// A memory that is shared.
    SharedMemory(SharedMemory),
    /// An exception tag.
    Tag(Tag),
}

macro_rules! kinds {
    ($($Kind:ident $into:ident $what:literal;)*) => {
        impl Extern {
            $(
                #[doc = concat!("The ", $what, ", if it is one.")]
                pub fn $into(self) -> Option<$Kind> {
                    match self {
                        Extern::$Kind(it) => Some(it),
                        _ => None,
                    }
                }
            )*

            /// The shared memory, if it is one.
            pub fn into_shared_memory(self) -> Option<SharedMemory> {
                match self {
                    Extern::SharedMemory(it) => Some(it),
                    _ => None,
                }
            }

            /// Its type. What the type says when the store is another one is written at each kind.
            pub fn ty(&self, store: impl AsContext) -> ExternType {
                match self {
                    $(Extern::$Kind(it) => ExternType::$Kind(it.ty(store)),)*
                    Extern::SharedMemory(it) => ExternType::Memory(it.ty()),
                }
            }

            /// What a handle of this store stands for.
            pub(crate) fn from_vm(store: &StoreInner, handle: ExternHandle) -> Extern {
                if let ExternHandle::Memory(memory) = handle
                    && let Ok(Some(shared)) = store.shared_memory(memory)
                {
                    return SharedMemory::from_vm(shared).into();
                }
                match handle {
                    $(ExternHandle::$Kind(handle) => Extern::$Kind($Kind::from_vm(handle)),)*
                }
            }

            /// As an import of an instance.
            pub(crate) fn to_import<T>(&self) -> ImportValue<T> {
                match self {
                    $(Extern::$Kind(it) => {
                        ImportValue::Extern(ExternHandle::$Kind(it.to_vm()))
                    })*
                    Extern::SharedMemory(it) => ImportValue::Shared(it.as_vm().clone()),
                }
            }
        }

        $(impl From<$Kind> for Extern {
            fn from(it: $Kind) -> Extern {
                Extern::$Kind(it)
            }
        })*

        impl From<SharedMemory> for Extern {
            fn from(it: SharedMemory) -> Extern {
                Extern::SharedMemory(it)
            }
        }

        impl<'instance> Export<'instance> {$(
            #[doc = concat!("The ", $what, ", if it is one.")]
            pub fn $into(self) -> Option<$Kind> {
                self.definition.$into()
            }
        )*
            /// The shared memory, if it is one.
            pub fn into_shared_memory(self) -> Option<SharedMemory> {
                self.definition.into_shared_memory()
            }
        }
    };
}

kinds! {
    Func into_func "function";
    Global into_global "global";
    Table into_table "table";
    Memory into_memory "memory";
    Tag into_tag "exception tag";
}

impl ExternType {
    /// Something of this type: a function that returns zeros and nulls, a global of zero or null, a table of nulls, a memory of
    /// zeros, a tag.
    ///
    /// # Errors
    /// When values of the type cannot be null, or there is no room.
    pub fn default_value(&self, mut store: impl AsContextMut) -> Result<Extern> {
        let mut store = store.as_context_mut();
        Ok(match self {
            ExternType::Func(ty) => ty.default_value(store)?.into(),
            ExternType::Global(ty) => ty.default_value(store)?.into(),
            ExternType::Table(ty) => ty.default_value(store)?.into(),
            ExternType::Memory(ty) => ty.default_value(&mut store)?,
            ExternType::Tag(ty) => ty.default_value(store)?.into(),
        })
    }
}

fn zero(ty: &ValType) -> Result<Val> {
    Val::default_for_ty(ty).ok_or_else(|| format_err!("{ty} has no default value"))
}

impl FuncType {
    /// A function of this type that returns zeros and nulls.
    ///
    /// # Errors
    /// When results of a type cannot be null.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Func> {
        let values = self
            .results()
            .map(|ty| zero(&ty))
            .collect::<Result<Vec<_>>>()?;
        Func::try_new(store, self.clone(), move |_, _, results| {
            results.copy_from_slice(&values);
            Ok(())
        })
    }
}

impl GlobalType {
    /// A global of this type whose value is zero or null.
    ///
    /// # Errors
    /// When values of the type cannot be null, or there is no room.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Global> {
        Global::new(store, self.clone(), zero(self.content())?)
    }
}

impl TableType {
    /// A table of this type whose elements are null.
    ///
    /// # Errors
    /// When elements of the type cannot be null, or there is no room.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Table> {
        zero(&ValType::Ref(self.element().clone()))?;
        Table::new(store, self.clone(), Ref::null(self.element().heap_type()))
    }
}

impl MemoryType {
    /// A memory of this type whose bytes are zero: a [`Memory`] or a [`SharedMemory`].
    ///
    /// # Errors
    /// When the type makes no sense, or there is no room.
    pub fn default_value(&self, mut store: impl AsContextMut) -> Result<Extern> {
        let store = store.as_context_mut();
        Ok(match self.is_shared() {
            true => SharedMemory::new(store.engine(), self.clone())?.into(),
            false => Memory::new(store, self.clone())?.into(),
        })
    }
}

impl TagType {
    /// A tag of this type.
    ///
    /// # Errors
    /// When there is no room.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Tag> {
        Tag::new(store, self)
    }
}

/// An export of an instance.
#[derive(Clone, Debug)]
pub struct Export<'instance> {
    name: &'instance str,
    definition: Extern,
}

impl<'instance> Export<'instance> {
    pub(crate) fn new(name: &'instance str, definition: Extern) -> Self {
        Export { name, definition }
    }

    /// Its name.
    pub fn name(&self) -> &'instance str {
        self.name
    }

    /// Its type.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.definition.ty(store)
    }

    /// What it is.
    pub fn into_extern(self) -> Extern {
        self.definition
    }
}
