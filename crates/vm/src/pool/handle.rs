//! References of the embedder's, counted on their own. See the module above for what for.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// How many [`Handle`]s there are to something.
#[derive(Debug, Default)]
pub(crate) struct HandleCount {
    count: AtomicUsize,
    /// Has anything been kept warm that refers to it, or was about to be?
    kept: AtomicBool,
}

impl HandleCount {
    /// Is there one?
    pub(crate) fn any(&self) -> bool {
        self.count.load(SeqCst) > 0
    }

    /// Notes that something is kept warm that refers to it, if there is [any](Self::any) handle after that.
    #[inline]
    pub(crate) fn note_kept(&self) {
        // Read first: what many threads only read is not passed from one to the other.
        if !self.kept.load(SeqCst) {
            self.kept.store(true, SeqCst);
        }
    }
}

/// Something that may be referred to by what is kept warm.
pub(crate) trait Counted {
    /// Its count.
    fn handles(&self) -> &HandleCount;

    /// Drops everything warm that refers to it. Called when its last handle is gone, if there is any such thing.
    fn released(&self);
}

/// A reference of the embedder's. When the last one to something is dropped, slots that were kept warm for it are emptied or unmapped,
/// whichever thread kept them; whatever is in use stays until it is not.
#[expect(
    private_bounds,
    reason = "what can be counted is this crate's to say; embedders hold handles of what they are given"
)]
pub struct Handle<T: Counted + ?Sized>(Arc<T>);

#[expect(private_bounds, reason = "as above")]
impl<T: Counted + ?Sized> Handle<T> {
    /// Another reference.
    pub fn new(target: Arc<T>) -> Handle<T> {
        target.handles().count.fetch_add(1, SeqCst);
        Handle(target)
    }

    /// What it refers to.
    pub fn arc(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T: Counted + ?Sized> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Handle::new(self.0.clone())
    }
}

impl<T: Counted + ?Sized> Drop for Handle<T> {
    fn drop(&mut self) {
        let handles = self.0.handles();
        if handles.count.fetch_sub(1, SeqCst) == 1 && handles.kept.load(SeqCst) {
            self.0.released();
        }
    }
}

impl<T: Counted + ?Sized> Deref for Handle<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Counted + ?Sized + fmt::Debug> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
