//! Tells compilers apart that make different code of the same module.

fn main() {
    cowling_fingerprint::of_sources("COWLING_COMPILER");
}
