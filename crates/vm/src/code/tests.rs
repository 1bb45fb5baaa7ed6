//! Tests of loading: artifacts are put together here, without a compiler.
