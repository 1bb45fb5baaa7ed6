//! Runs one of the embeddings with one of the engines: `cargo run -- <wasmtime|cowling> <name>`. Without arguments, lists them.

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(engine) = args.next() else {
        println!("{}", with_wasmtime::embeddings::NAMES.join("\n"));
        return Ok(());
    };
    let name = args.next().context("the name of an embedding is missing")?;
    let result = match &*engine {
        "wasmtime" => with_wasmtime::embeddings::run(&name),
        "cowling" => with_cowling::embeddings::run(&name),
        _ => bail!("{engine:?} is neither `wasmtime` nor `cowling`"),
    };
    result.with_context(|| format!("there is no embedding {name:?}"))?
}
