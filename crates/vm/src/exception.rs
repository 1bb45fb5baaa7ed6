//! Exceptions: throwing, catching, and what becomes of one that nobody catches.
//!
//! ```text
//!   guest frame f, inside a try_table          | ... spilled VMContext ... | saved rbp | return address |
//!       ^ handler                              ^ stack pointer             ^ frame pointer
//!       |                                        (frame pointer - frame_size, both from the artifact's table)
//!   guest frame g                      walks outwards by frame pointers, frame by frame of the innermost activation:
//!   builtin `throw`  ----------------> is the return address in the table, and does a clause's tag match?
//! ```
//!
//! A tag's identity is the address of its [`VmTag`], so a clause is compared through the VMContext of the frame it is in: that is
//! how an instance's own tag index finds the tag it imported.
//!
//! A throw ends at the entry of the innermost activation. What nobody catches there becomes an [`UncaughtException`], an error for
//! the host. A host function that returns that error throws the exception on, into the guest that called it.
//!
//! # Invariant
//!
//! Between the decision for a handler and the jump to it nothing runs that could move or free anything, and no Rust value that
//! needs dropping is alive.

use crate::activation::{self, Execution};
use crate::error::{CallError, Error, ObjectError, RefError};
use crate::host_ref::{Exception, ExnRef, OwnedExnRef};
use crate::instance::{Instance, InstancePtr};
use crate::registry;
use crate::store::{StoreInner, TagHandle};
use crate::trap::TrapReason;
use crate::values::Value;
use cowling_abi::layout::{VmContext, VmTag, VmValue};
use cowling_abi::{FuncType, TagType};
use std::ptr::NonNull;

/// An exception that reached the host: no guest function inside the call caught it.
///
/// A host function that returns this error throws the exception on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("wasm exception thrown and not caught: {ty}")]
pub struct UncaughtException {
    exception: OwnedExnRef,
    tag: TagHandle,
    ty: TagType,
}

impl UncaughtException {
    /// The exception, kept until this error is dropped.
    pub fn exception(&self) -> &OwnedExnRef {
        &self.exception
    }

    /// Its tag.
    pub fn tag(&self) -> TagHandle {
        self.tag
    }

    /// Its tag's type.
    pub fn tag_type(&self) -> &TagType {
        &self.ty
    }
}

impl StoreInner {
    /// Makes an exception, rooted in the current scope. Nothing is thrown: a host function throws by returning
    /// [`exception_error`](Self::exception_error).
    ///
    /// # Errors
    /// When the tag is another store's, or the values are not what it wants.
    pub fn exception_new(&mut self, tag: TagHandle, values: &[Value]) -> Result<ExnRef, Error> {
        let types = self.tag_type(tag)?.params;
        if types.len() != values.len() {
            let error = CallError::ArgumentCount {
                expected: types.len(),
                found: values.len(),
                ty: FuncType {
                    params: types,
                    results: [].into(),
                },
            };
            return Err(error.into());
        }
        let mut lowered = Vec::with_capacity(values.len());
        for (index, (value, ty)) in values.iter().zip(&types).enumerate() {
            let value = value.lower(self, *ty);
            lowered.push(value.map_err(|source| CallError::Argument { index, source })?);
        }
        // What the values refer to is rooted by the references they were given as.
        let raw = self.new_exception(Exception {
            tag: tag.pointer(),
            types,
            values: lowered.into(),
        })?;
        let rooted = self.objects_mut().root(raw).map(ExnRef);
        Ok(rooted.unwrap_or_else(|| unreachable!("objects have numbers other than 0")))
    }

    fn exception(&self, exception: ExnRef) -> Result<&Exception, RefError> {
        let raw = self.objects().raw(exception.0)?;
        self.objects().exception(raw).ok_or(RefError::Unrooted)
    }

    /// An exception's tag.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn exception_tag(&self, exception: ExnRef) -> Result<TagHandle, RefError> {
        let tag = self.exception(exception)?.tag;
        // SAFETY: an exception keeps its tag alive.
        Ok(unsafe { self.tag_handle(tag) })
    }

    /// The values an exception carries; references are rooted in the current scope.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn exception_values(&mut self, exception: ExnRef) -> Result<Vec<Value>, RefError> {
        let Exception { types, values, .. } = self.exception(exception)?.clone();
        let values = values.iter().zip(&types);
        // SAFETY: an exception's values have its types and live as long as it does.
        Ok(values
            .map(|(value, ty)| unsafe { Value::lift(self, value, *ty) })
            .collect())
    }

    /// How many values an exception carries.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn exception_len(&self, exception: ExnRef) -> Result<usize, RefError> {
        Ok(self.exception(exception)?.types.len())
    }

    /// A value that an exception carries, counted from 0; a reference is rooted in the current scope.
    ///
    /// # Errors
    /// When there are fewer; when the reference is another store's or its scope has ended.
    pub fn exception_value(
        &mut self,
        exception: ExnRef,
        index: usize,
    ) -> Result<Value, ObjectError> {
        let Exception { types, values, .. } = self.exception(exception)?;
        let (Some(&ty), Some(&value)) = (types.get(index), values.get(index)) else {
            let count = types.len();
            return Err(ObjectError::NoValue { index, count });
        };
        // SAFETY: an exception's values have its types and live as long as it does.
        Ok(unsafe { Value::lift(self, &value, ty) })
    }

    /// The error by which a host function throws an exception.
    ///
    /// # Errors
    /// When the reference is another store's or its scope has ended.
    pub fn exception_error(&mut self, exception: ExnRef) -> Result<UncaughtException, RefError> {
        let tag = self.exception_tag(exception)?;
        let owned = self.exn_ref_to_owned(exception)?;
        self.pending_exception = Some(owned.clone());
        Ok(UncaughtException {
            exception: owned,
            tag,
            ty: self.tag_type(tag)?,
        })
    }

    /// Is there an exception that became an [`UncaughtException`] last, and has been neither thrown on nor taken?
    pub fn has_pending_exception(&self) -> bool {
        self.pending_exception.is_some()
    }

    /// Takes that exception, rooted in the current scope.
    pub fn take_pending_exception(&mut self) -> Option<ExnRef> {
        let owned = self.pending_exception.take()?;
        self.exn_ref_from_owned(&owned).ok()
    }
}

/// Makes an exception of what a guest throws; returns its number.
///
/// # Safety
/// `values` points at values of the tag's types, on the guest stack or otherwise known to a collection.
pub(crate) unsafe fn make(
    store: &mut StoreInner,
    tag: NonNull<VmTag>,
    values: *const VmValue,
) -> Result<u32, RefError> {
    // SAFETY: the tag is one of the guest that throws.
    let types = store.tag_type(unsafe { store.tag_handle(tag) })?.params;
    // SAFETY: the caller vouches for as many values.
    let values = unsafe { std::slice::from_raw_parts(values, types.len()) }.into();
    store.new_exception(Exception { tag, types, values })
}

/// The number of the exception that an error stands for, if it is this store's; otherwise the error comes back.
///
/// # Safety
/// `store` may be used.
pub(crate) unsafe fn rethrown(store: NonNull<StoreInner>, error: Error) -> Result<u32, Error> {
    // SAFETY: as the caller says; the reference ends with this function.
    let store = unsafe { &mut *store.as_ptr() };
    let Some(uncaught) = error.downcast_ref::<UncaughtException>() else {
        return Err(error);
    };
    let scope = store.root_scope_enter();
    let rooted = store.exn_ref_from_owned(&uncaught.exception);
    let raw = rooted.and_then(|rooted| store.objects().raw(rooted.0));
    store.root_scope_exit(scope);
    let raw = raw.map_err(|_| error)?;
    store.pending_exception = None;
    Ok(raw)
}

/// Where an exception is caught.
struct Handler {
    code: *const u8,
    stack_pointer: usize,
    frame_pointer: usize,
}

/// The innermost handler for an exception with this tag, in the innermost activation.
///
/// # Safety
/// The store's guest has called what runs now.
unsafe fn find_handler(execution: &Execution, tag: NonNull<VmTag>) -> Option<Handler> {
    for frame in execution.guest_frames()? {
        let Some(module) = registry::module_at(frame.call_site()) else {
            continue;
        };
        let site = module
            .text_offset(frame.pc)
            .and_then(|offset| module.exceptions().lookup(offset));
        let Some((frame_size, context, mut catches)) = site else {
            continue;
        };
        let stack_pointer = frame.fp - frame_size as usize;
        // SAFETY: the table says that the frame keeps its VMContext there while the call is under way.
        let instance = unsafe {
            let vmctx = *((stack_pointer + context as usize) as *const NonNull<VmContext>);
            InstancePtr::new(Instance::from_vmctx(vmctx))
        };
        let found = catches.find(|catch| catch.tag.is_none_or(|index| instance.tag(index) == tag));
        if let Some(code) = found.and_then(|catch| module.text_address(catch.handler)) {
            return Some(Handler {
                code,
                stack_pointer,
                frame_pointer: frame.fp,
            });
        }
    }
    None
}

/// Throws an exception, by its number, out of the builtin or host function that the guest called.
///
/// # Safety
/// As for [`activation::raise`].
pub(crate) unsafe fn throw(store: NonNull<StoreInner>, exception: u32) -> ! {
    let execution = store.cast::<Execution>();
    // SAFETY: the store may be used; each reference ends within its statement.
    let uncaught = unsafe {
        let tag = store
            .as_ref()
            .objects()
            .exception(exception)
            .map(|exception| exception.tag);
        let handler = tag.and_then(|tag| find_handler(execution.as_ref(), tag));
        if let Some(handler) = handler {
            let Handler {
                code,
                stack_pointer,
                frame_pointer,
            } = handler;
            activation::continue_in_handler(
                execution,
                code,
                stack_pointer,
                frame_pointer,
                exception,
            );
        }
        uncaught(&mut *store.as_ptr(), exception)
    };
    let error = match uncaught {
        Ok(uncaught) => Error::new(uncaught),
        Err(error) => Error::new(error),
    };
    // SAFETY: the caller's promises are those of `raise`.
    unsafe { activation::raise(execution, TrapReason::Host(error)) }
}

fn uncaught(store: &mut StoreInner, exception: u32) -> Result<UncaughtException, RefError> {
    let scope = store.root_scope_enter();
    let rooted = store
        .objects_mut()
        .root(exception)
        .ok_or(RefError::Unrooted);
    let result = rooted.and_then(|rooted| store.exception_error(ExnRef(rooted)));
    store.root_scope_exit(scope);
    result
}
