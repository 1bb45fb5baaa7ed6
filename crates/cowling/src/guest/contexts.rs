//! The embedder's contexts: values found by their type, beside a store's data.
//!
//! They are borrowed one by one and dynamically, so that a host function can use several at a time without knowing of each
//! other. That a context stays borrowed while a guest runs or is suspended cannot happen: whoever runs or suspends it needs all of
//! the caller, and the borrow checker knows.

use std::any::{Any, TypeId, type_name};
use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;

/// Values of the embedder's, at most one of each type.
///
/// Those of a [`Guest`](crate::Guest) survive [`Guest::reset`](crate::Guest::reset).
///
/// ```
/// # use cowling::*;
/// struct Log(Vec<String>);
/// struct Level(u32);
///
/// let mut contexts = Contexts::new();
/// contexts.insert(Log(Vec::new()));
/// contexts.insert(Level(3));
///
/// let level = contexts.get::<Level>()?;
/// contexts.get_mut::<Log>()?.0.push(format!("level {}", level.0));
/// assert!(matches!(contexts.get_mut::<Level>(), Err(ContextError::Borrowed { .. })));
/// assert!(matches!(contexts.get::<String>(), Err(ContextError::NotFound { .. })));
/// # Ok::<(), ContextError>(())
/// ```
///
/// A borrow cannot last while a guest runs or is suspended:
///
/// ```compile_fail
/// # use cowling::*;
/// fn host(mut caller: Caller<'_, ()>) -> Result<()> {
///     let log = caller.contexts().get::<String>()?;
///     caller.yield_()?; // still borrowed by `log`
///     println!("{log}");
///     Ok(())
/// }
/// ```
#[derive(Default)]
pub struct Contexts {
    by_type: BTreeMap<TypeId, RefCell<Box<dyn Any + Send>>>,
}

/// A context cannot be borrowed. Returned by a host function, it terminates the guest.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// There is none of this type.
    #[error("no context of type {type_name}")]
    NotFound {
        /// Name of the type.
        type_name: &'static str,
    },
    /// It is borrowed, mutably or to be borrowed mutably.
    #[error("context of type {type_name} is borrowed already")]
    Borrowed {
        /// Name of the type.
        type_name: &'static str,
    },
}

impl Contexts {
    /// No contexts.
    pub fn new() -> Contexts {
        Contexts::default()
    }

    /// Puts a context in; returns the one of this type that was there before.
    pub fn insert<C: Any + Send>(&mut self, context: C) -> Option<C> {
        let context = RefCell::new(Box::new(context) as Box<dyn Any + Send>);
        unbox(self.by_type.insert(TypeId::of::<C>(), context)?)
    }

    /// Is there a context of this type?
    pub fn contains<C: Any + Send>(&self) -> bool {
        self.by_type.contains_key(&TypeId::of::<C>())
    }

    /// Takes the context of this type out.
    pub fn remove<C: Any + Send>(&mut self) -> Option<C> {
        unbox(self.by_type.remove(&TypeId::of::<C>())?)
    }

    /// Borrows the context of this type.
    ///
    /// # Errors
    /// When there is none, or it is borrowed mutably.
    pub fn get<C: Any + Send>(&self) -> Result<Ref<'_, C>, ContextError> {
        let context = self.find::<C>()?.try_borrow();
        let context = context.map_err(|_| borrowed::<C>())?;
        Ref::filter_map(context, |context| context.downcast_ref()).map_err(|_| not_found::<C>())
    }

    /// Borrows the context of this type, for change.
    ///
    /// # Errors
    /// When there is none, or it is borrowed.
    pub fn get_mut<C: Any + Send>(&self) -> Result<RefMut<'_, C>, ContextError> {
        let context = self.find::<C>()?.try_borrow_mut();
        let context = context.map_err(|_| borrowed::<C>())?;
        RefMut::filter_map(context, |context| context.downcast_mut()).map_err(|_| not_found::<C>())
    }

    fn find<C: Any + Send>(&self) -> Result<&RefCell<Box<dyn Any + Send>>, ContextError> {
        let found = self.by_type.get(&TypeId::of::<C>());
        found.ok_or_else(not_found::<C>)
    }
}

fn unbox<C: Any>(context: RefCell<Box<dyn Any + Send>>) -> Option<C> {
    context.into_inner().downcast().ok().map(|context| *context)
}

fn not_found<C>() -> ContextError {
    ContextError::NotFound {
        type_name: type_name::<C>(),
    }
}

fn borrowed<C>() -> ContextError {
    ContextError::Borrowed {
        type_name: type_name::<C>(),
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts")
            .field("len", &self.by_type.len())
            .finish_non_exhaustive()
    }
}
