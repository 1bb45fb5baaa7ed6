//! Artifacts from elsewhere, which somebody has signed whom you trust.
//!
//! ```sh
//! cargo run --example signing
//! ```

use cowling::{Engine, Instance, Module, PublicKey, Result, SignatureError, SigningKey, Store};
use std::fs;
use std::path::Path;

const GUEST: &str = r#"(module
    (func (export "answer") (result i32) (i32.mul (i32.const 6) (i32.const 7))))"#;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let shared = folder.path().join("guest.cowling");

    // ANCHOR: build
    // Once, on the machine that compiles: a key, of which only the public half goes anywhere.
    let key_file = folder.path().join("release.pem");
    let key = SigningKey::generate()?;
    key.write_new_file(&key_file)?;
    let public = key.public_key().to_pem()?;

    // For each release: compile and sign.
    let artifact = Engine::default().precompile_module(GUEST.as_bytes())?;
    let signed = SigningKey::from_file(&key_file)?.sign(&artifact)?;
    fs::write(&shared, &signed)?;
    println!(
        "the signature takes {} bytes",
        signed.len() - artifact.len()
    );
    // ANCHOR_END: build

    // ANCHOR: load
    let engine = Engine::default();
    let trusted = PublicKey::from_pem(&public)?;
    let module = Module::deserialize_signed_file(&engine, &shared, &trusted)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let answer = instance.get_typed_func::<(), i32>(&mut store, "answer")?;
    println!("the answer is {}", answer.call(&mut store, ())?);
    // ANCHOR_END: load

    // ANCHOR: overwritten
    // Somebody who may write to the shared disk writes something else, while the guest is in use.
    fs::write(&shared, "something else")?;
    println!(
        "what runs is what was signed: {}",
        answer.call(&mut store, ())?
    );
    refused("something else", &engine, &shared, &trusted);
    // ANCHOR_END: overwritten

    // ANCHOR: refused
    fs::write(&shared, &artifact)?;
    refused("not signed", &engine, &shared, &trusted);

    let mut altered = signed.clone();
    altered[artifact.len() / 2] ^= 1;
    fs::write(&shared, &altered)?;
    refused("altered", &engine, &shared, &trusted);

    let stranger = SigningKey::generate()?;
    fs::write(&shared, stranger.sign(&artifact)?)?;
    refused("signed by a stranger", &engine, &shared, &trusted);
    // ANCHOR_END: refused

    // ANCHOR: replace
    // While a key is replaced, both are trusted.
    let keys = [trusted, stranger.public_key()];
    let module = Module::deserialize_signed_file(&engine, &shared, &keys)?;
    println!("two keys: {} export", module.exports().len());
    // ANCHOR_END: replace
    Ok(())
}

fn refused(what: &str, engine: &Engine, file: &Path, key: &PublicKey) {
    let error = Module::deserialize_signed_file(engine, file, key).unwrap_err();
    match error.downcast_ref() {
        Some(SignatureError::UnknownKey { .. }) => println!("{what}: the key is not trusted"),
        Some(SignatureError::Altered(_)) => println!("{what}: not what was signed"),
        _ => println!("{what}: {}", error.root_cause()),
    }
}
