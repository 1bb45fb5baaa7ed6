//! `compile` and `keygen`: artifacts, and keys to sign them with.

use super::{engine, output_path, write_output};
use crate::args::{Compile, Keygen, open_cache};
use crate::config_file::ConfigFile;
use crate::report::Failure;
use crate::source;
use cowling::{Context as _, Error, SigningKey};
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

/// Compiles a module to an artifact.
pub(super) fn compile(args: Compile) -> Result<(), Failure> {
    // Before the work: what is no use is known at once.
    let output = output_path(args.output, &args.file, "cowling")?;
    if source::is_standard_input(&output) && io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "an artifact is nothing for a terminal: say where to write it with `-o`, or redirect the output".to_string(),
        ));
    }
    let key = args.sign.map(SigningKey::from_file).transpose()?;
    let file = ConfigFile::read(&args.settings.config)?;
    let store = match args.incremental {
        true => Some(open_cache(args.cache_dir.as_ref(), &file)?),
        false => None,
    };
    let engine = engine(&args.settings, &file, |config| {
        if let Some(store) = store {
            config.incremental_cache(store);
        }
        if let Some(target) = &args.target {
            config.target(target)?;
        }
        if let Some(directory) = &args.emit_clif {
            config.emit_clif(directory);
        }
        Ok(())
    })?;
    let wasm = source::binary(&args.file)?;
    let mut artifact = engine
        .precompile_module(&wasm)
        .map_err(|e| source::placed(&args.file, Some(&wasm), e))?;
    if let Some(key) = key {
        artifact = key.sign(&artifact).map_err(Error::from)?;
    }
    write_output(&output, &artifact)
}

/// Makes a pair of keys.
pub(super) fn keygen(args: Keygen) -> Result<(), Failure> {
    let mut public = args.file.clone().into_os_string();
    public.push(".pub");
    let key = SigningKey::generate()?;
    key.write_new_file(&args.file)?;
    let written = key.public_key().to_pem().and_then(|pem| {
        let mut file = File::create_new(&public)?;
        Ok(file.write_all(pem.as_bytes())?)
    });
    written
        .inspect_err(|_| {
            // Half a pair is no use.
            let _ = fs::remove_file(&args.file);
        })
        .with_context(|| format!("cannot write `{}`", Path::new(&public).display()))?;
    Ok(writeln!(io::stdout(), "key {}", key.public_key().id())?)
}
