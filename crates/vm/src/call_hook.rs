//! Which border between host and guest is crossed, for those who watch.

/// A transition between the host and WebAssembly, as a store's call hook gets it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallHook {
    /// The host is about to call a WebAssembly function.
    CallingWasm,
    /// A WebAssembly function is about to return to the host, or has stopped early.
    ReturningFromWasm,
    /// WebAssembly is about to call a function of the host.
    CallingHost,
    /// A function of the host is about to return to WebAssembly, with results or an error.
    ReturningFromHost,
}

impl CallHook {
    /// Will code of the host run next?
    pub fn entering_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromWasm | CallHook::CallingHost)
    }

    /// Will WebAssembly run next?
    pub fn exiting_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromHost | CallHook::CallingWasm)
    }
}
