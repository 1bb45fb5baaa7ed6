//! What stores of one engine leave to each other: references that all of them need.
//!
//! A reference that is passed on is not counted down and up again. Its count would be in memory that every thread writes.

use super::RuntimeConfig;
use crate::gc::Heap;
use std::any::Any;
use std::sync::Arc;

/// What a dropped store leaves to the next one of its engine.
pub(crate) struct Shell {
    pub(crate) config: Arc<RuntimeConfig>,
    /// What the embedder's layer shares between its stores.
    pub(crate) embedder: Box<dyn Any + Send + Sync>,
    /// Without objects, if there is one.
    pub(crate) heap: Option<Box<Heap>>,
}

impl Shell {
    pub(crate) fn new(config: &Arc<RuntimeConfig>, embedder: Box<dyn Any + Send + Sync>) -> Shell {
        Shell {
            config: config.clone(),
            embedder,
            heap: None,
        }
    }
}
