//! Tells builds apart whose compiled code and runtime agree on different things.

fn main() {
    cowling_fingerprint::of_sources("COWLING_CONTRACT");
}
