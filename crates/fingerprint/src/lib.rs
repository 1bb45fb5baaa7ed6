//! For build scripts: tells builds of a crate apart by their sources.
//!
//! A version number says nothing about two builds of one version, which is what there is while Cowling is worked on. Where they must not be
//! taken for each other, because one runs or reuses what the other compiled, the hash of a crate's sources is compared too. It is the same
//! for everybody who builds the same sources.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Sets an environment variable, while the crate is compiled that this build script belongs to, to a hash of its sources: 16 hexadecimal
/// digits.
///
/// # Panics
/// If the sources cannot be read.
pub fn of_sources(variable: &str) {
    println!("cargo::rerun-if-changed=src");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let hash = hash_of(&root.join("src")).expect("sources are readable");
    println!("cargo::rustc-env={variable}={hash:016x}");
}

/// Hash of the names and contents of all files below a directory.
fn hash_of(dir: &Path) -> io::Result<u64> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let mut hash = Fnv::default();
    for file in files {
        let name = file.strip_prefix(dir).unwrap_or(&file);
        hash.word(name.as_os_str().as_encoded_bytes());
        hash.word(&fs::read(&file)?);
    }
    Ok(hash.0)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// FNV-1a: sources are not hostile, and the same on every machine and with every compiler is what counts.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn word(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_count() {
        let dir = env::temp_dir().join(format!("fingerprint-{}", std::process::id()));
        let of = |files: &[(&str, &str)]| {
            fs::create_dir_all(dir.join("deeper")).unwrap();
            for (name, content) in files {
                fs::write(dir.join(name), content).unwrap();
            }
            let hash = hash_of(&dir).unwrap();
            fs::remove_dir_all(&dir).unwrap();
            hash
        };
        let one = of(&[("a.rs", "1"), ("deeper/b.rs", "2")]);
        assert_eq!(one, of(&[("deeper/b.rs", "2"), ("a.rs", "1")]));
        for other in [
            &[("a.rs", "1"), ("deeper/b.rs", "3")][..],
            &[("a.rs", "1"), ("deeper/c.rs", "2")],
            &[("a.rs", "12"), ("deeper/b.rs", "")],
            &[("a.rs", "1")],
        ] {
            assert_ne!(one, of(other), "{other:?}");
        }
    }
}
