//! The embeddings, compiled with wasmtime.

#[path = "../../embeddings/mod.rs"]
pub mod embeddings;
