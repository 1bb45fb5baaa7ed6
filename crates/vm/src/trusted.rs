//! Vouching for an artifact: the one unsafe step an embedder may take.

/// Something that is known to come from Cowling's compiler.
///
/// Artifacts are machine code. Whoever has a safe function that loads one asks for this, so that the promise is made where the
/// artifact comes from, by somebody who wrote `unsafe` there.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<T>(T);

impl<T> Trusted<T> {
    /// Vouches for an artifact.
    ///
    /// # Safety
    /// It is what Cowling's compiler wrote, unaltered. Its checksum notices accidents, not malice.
    pub unsafe fn new(artifact: T) -> Trusted<T> {
        Trusted(artifact)
    }

    /// The artifact.
    pub fn get(&self) -> &T {
        &self.0
    }
}
