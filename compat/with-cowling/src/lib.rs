//! The embeddings, compiled with cowling.

#![expect(
    unused_unsafe,
    reason = "`Module::deserialize_file` is a safe function of cowling"
)]

#[path = "../../embeddings/mod.rs"]
pub mod embeddings;
