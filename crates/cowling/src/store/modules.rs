//! The modules of a store's instances, as embedders see them.
//!
//! The runtime knows compiled code; embedders know a [`Module`], which is more. One is made when it is asked for first, and stays where
//! it is until the store is dropped, so that it can be lent for as long as the store is.

use crate::module::Module;
use cowling_vm::CompiledModule;
use std::sync::{Arc, OnceLock};

/// A list that grows at its end.
#[derive(Default)]
pub(crate) struct Modules {
    first: OnceLock<Box<Node>>,
}

struct Node {
    module: Module,
    next: OnceLock<Box<Node>>,
}

impl Modules {
    /// The module of this code.
    pub(crate) fn of(&self, code: &Arc<CompiledModule>, make: impl Fn() -> Module) -> &Module {
        let mut place = &self.first;
        loop {
            // Another thread may put another module there first.
            let node = place.get_or_init(|| {
                Box::new(Node {
                    module: make(),
                    next: OnceLock::new(),
                })
            });
            if Arc::ptr_eq(node.module.code(), code) {
                return &node.module;
            }
            place = &node.next;
        }
    }
}

impl Drop for Modules {
    // One after the other rather than inside each other.
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut node) = next {
            next = node.next.take();
        }
    }
}
