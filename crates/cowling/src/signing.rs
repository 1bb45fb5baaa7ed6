//! Signed artifacts: who made an artifact is checked with the embedder's keys before any of it runs.
//!
//! ```text
//!   artifact   | image ....................................... | trailer: key, length and hash of the image, signature |
//!                 |                                                |
//!                 |                          1. is the key trusted, does the signature match, is the length right?
//!                 v
//!   2. copied into a sealed memory file, and hashed on the way
//!                 |
//!              3. is that the hash that was signed?  ->  4. mapped, header checked, made executable
//! ```
//!
//! Invariant: what is mapped is what was hashed, byte for byte, because the copy is the only thing that is used and nobody can change it.
//! Whoever can write the file an artifact comes from, before or while it loads or later, can make it fail to load, and no more. That is
//! why loading a signed artifact is safe, and why it costs reading and copying it.
//!
//! `abi::artifact::signature` has the format.

mod keys;

use crate::artifact;
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::module::Module;
use cowling_abi::artifact::{Header, NoTrailer, SECTION_HEADER, Trailer};
use cowling_vm::Verify;
use object::Endianness;
use object::read::elf::ElfFile64;
use object::read::{Object, ObjectSection, ReadCache, ReadRef};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

pub use keys::{KeyError, KeyId, PublicKey, SigningKey};

/// A signed artifact was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is no artifact.
    #[error("not a Cowling artifact")]
    NotAnArtifact,
    /// Nobody signed it.
    #[error("artifact is not signed")]
    Unsigned,
    /// Somebody signed it who is not trusted.
    #[error(
        "artifact is signed with key {key}, which is not among the keys that are trusted here ({trusted} of them)"
    )]
    UnknownKey {
        /// The signer's key.
        key: KeyId,
        /// How many keys are trusted.
        trusted: usize,
    },
    /// The signature was not made with the key for this artifact.
    #[error("signature does not match: it was not made with key {0} for this artifact")]
    Mismatch(
        /// The key it claims to be made with.
        KeyId,
    ),
    /// The signature is right, and the artifact is not what was signed.
    #[error("artifact was altered after it was signed with key {0}")]
    Altered(
        /// The signer's key.
        KeyId,
    ),
    /// It is shorter or longer than it was.
    #[error("artifact is truncated or extended: it should have {expected} bytes but has {found}")]
    WrongLength {
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// It was cut off somewhere.
    #[error("artifact is truncated: it is {0} bytes of something longer")]
    Truncated(
        /// Bytes it has.
        u64,
    ),
    /// The signature's frame is not one of this version.
    #[error("signature of the artifact was altered, or is of another version of Cowling")]
    OtherVersion,
}

/// The signature of an artifact: who made it, for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(Trailer);

impl Signature {
    /// The signature of an artifact, if it has one that was made with the key it names for this artifact. Says nothing about whether
    /// that key is to be trusted.
    ///
    /// # Errors
    /// [`SignatureError`], among them [`SignatureError::Unsigned`].
    pub fn of(artifact: &[u8]) -> Result<Signature, SignatureError> {
        let signature = Signature::read(artifact, artifact.len() as u64, artifact)?;
        signature.check_own_key()?;
        let image = Trailer::image_of(artifact);
        signature.check_hash(blake3::hash(image))?;
        Ok(signature)
    }

    /// The same for a file.
    ///
    /// # Errors
    /// As [`Signature::of`], and when the file cannot be read.
    pub fn of_file(path: impl AsRef<Path>) -> Result<Signature> {
        let path = path.as_ref();
        let check = || -> Result<Signature> {
            let (mut file, metadata) = artifact::open_regular(path)?;
            let signature = Signature::read_file(&mut file, metadata.len())?;
            signature.check_own_key()?;
            let mut hasher = blake3::Hasher::new();
            io::copy(&mut (&mut file).take(signature.0.image_len), &mut hasher)?;
            signature.check_hash(hasher.finalize())?;
            Ok(signature)
        };
        check().with_context(|| format!("signature of `{}`", path.display()))
    }

    /// The key it was made with.
    pub fn key(&self) -> KeyId {
        KeyId::of(&self.0.key)
    }

    /// The signature at the end of something of `len` bytes, unchecked. What lies before it is not looked at, but to say why there is none.
    fn read<'data>(
        end: &[u8],
        len: u64,
        whole: impl ReadRef<'data>,
    ) -> Result<Signature, SignatureError> {
        let trailer = Trailer::decode(end).map_err(|none| match none {
            NoTrailer::Missing => why_unsigned(len, whole),
            NoTrailer::OtherVersion => SignatureError::OtherVersion,
        })?;
        let expected = trailer.image_len.saturating_add(Trailer::SIZE as u64);
        if expected != len {
            return Err(SignatureError::WrongLength {
                expected,
                found: len,
            });
        }
        Ok(Signature(trailer))
    }

    fn read_file(file: &mut File, len: u64) -> Result<Signature> {
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(len.saturating_sub(Trailer::SIZE as u64)))?;
        file.take(Trailer::SIZE as u64).read_to_end(&mut end)?;
        let signature = Signature::read(&end, len, &ReadCache::new(&mut *file))?;
        file.rewind()?;
        Ok(signature)
    }

    /// Was it made with one of these keys?
    fn check_keys(&self, keys: &[PublicKey]) -> Result<(), SignatureError> {
        let Some(key) = keys.iter().find(|key| key.as_bytes() == &self.0.key) else {
            return Err(SignatureError::UnknownKey {
                key: self.key(),
                trusted: keys.len(),
            });
        };
        self.check_key(key)
    }

    /// Was it made with the key it names, whoever has that?
    fn check_own_key(&self) -> Result<(), SignatureError> {
        let key = PublicKey::from_bytes(&self.0.key);
        self.check_key(&key.map_err(|_| SignatureError::Mismatch(self.key()))?)
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), SignatureError> {
        match key.verify(&self.0.signed_bytes(), &self.0.signature) {
            true => Ok(()),
            false => Err(SignatureError::Mismatch(self.key())),
        }
    }

    fn check_hash(&self, image: blake3::Hash) -> Result<(), SignatureError> {
        match image.as_bytes() == &self.0.image_hash {
            true => Ok(()),
            false => Err(SignatureError::Altered(self.key())),
        }
    }
}

/// What to say of something that does not end like a signed artifact.
fn why_unsigned<'data>(len: u64, data: impl ReadRef<'data>) -> SignatureError {
    let is_elf = data
        .read_bytes_at(0, 4)
        .is_ok_and(|magic| magic == object::elf::ELFMAG);
    let Ok(elf) = ElfFile64::<Endianness, _>::parse(data) else {
        // The table of sections is the last thing in an image.
        return match is_elf {
            true => SignatureError::Truncated(len),
            false => SignatureError::NotAnArtifact,
        };
    };
    let header = elf.section_by_name(SECTION_HEADER);
    let header = header.and_then(|section| section.data().ok());
    match header.and_then(|header| Header::decode(header).ok()) {
        None => SignatureError::NotAnArtifact,
        Some(header) if header.file_len == len => SignatureError::Unsigned,
        Some(_) => SignatureError::Truncated(len),
    }
}

impl SigningKey {
    /// Signs an artifact: what [`Module::serialize`] or [`Engine::precompile_module`] gave, perhaps on another machine. A signature that
    /// it has already is replaced.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let artifact = engine.precompile_module(br#"(module (func (export "run")))"#)?;
    /// let key = SigningKey::generate()?;
    /// let signed = key.sign(&artifact)?;
    ///
    /// let module = Module::deserialize_signed(&engine, &signed, &key.public_key())?;
    /// assert!(module.get_export("run").is_some());
    ///
    /// let stranger = SigningKey::generate()?;
    /// assert!(Module::deserialize_signed(&engine, &signed, &stranger.public_key()).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`SignatureError`] when it is no artifact or not whole.
    pub fn sign(&self, artifact: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let image = Trailer::image_of(artifact);
        match why_unsigned(image.len() as u64, image) {
            SignatureError::Unsigned => {}
            error => return Err(error),
        }
        let mut trailer = Trailer {
            key: *self.public_key().as_bytes(),
            image_len: image.len() as u64,
            image_hash: *blake3::hash(image).as_bytes(),
            signature: [0; 64],
        };
        trailer.signature = self.sign_bytes(&trailer.signed_bytes());
        Ok([image, &trailer.encode()].concat())
    }
}

impl Module {
    /// Loads an artifact that one of these keys signed. It is copied once, into memory that nobody else can write.
    ///
    /// This is safe, other than [`Module::deserialize`]: nothing of the artifact is used before the signature has been checked, and
    /// whoever holds the key made it, with a compiler of Cowling. What was made by another version of it or for other settings or
    /// machines is refused. `keys` is one key or several: while a key is replaced by another, both are trusted.
    ///
    /// # Errors
    /// [`SignatureError`] when it is not signed, not by these keys, or not whole; [`LoadError`](crate::LoadError) when it was made for
    /// another version, target, processor or other settings.
    pub fn deserialize_signed(
        engine: &Engine,
        bytes: impl AsRef<[u8]>,
        keys: &(impl AsRef<[PublicKey]> + ?Sized),
    ) -> Result<Module> {
        let mut bytes = bytes.as_ref();
        let signature = Signature::read(bytes, bytes.len() as u64, bytes)?;
        load(engine, &mut bytes, signature, keys.as_ref())
    }

    /// Loads an artifact from a file that one of these keys signed.
    ///
    /// Whom the file belongs to does not matter, nor who may write it: what runs is a copy in memory, of what was signed, even if the
    /// file changes while it is read. [`Module::deserialize_file`] maps the file instead, and trusts its owner.
    ///
    /// # Errors
    /// As [`Module::deserialize_signed`], or when the file cannot be read.
    pub fn deserialize_signed_file(
        engine: &Engine,
        path: impl AsRef<Path>,
        keys: &(impl AsRef<[PublicKey]> + ?Sized),
    ) -> Result<Module> {
        let path = path.as_ref();
        let load = || {
            let (mut file, metadata) = artifact::open_regular(path)?;
            let signature = Signature::read_file(&mut file, metadata.len())?;
            load(engine, &mut file, signature, keys.as_ref())
        };
        load().with_context(|| format!("cannot load `{}`", path.display()))
    }
}

/// Loads the image that `source` begins with.
fn load(
    engine: &Engine,
    source: &mut dyn Read,
    signature: Signature,
    keys: &[PublicKey],
) -> Result<Module> {
    // Before anything is read whose size a stranger chose.
    signature.check_keys(keys)?;
    let mut hasher = blake3::Hasher::new();
    let copy = cowling_vm::sealed_copy(source, signature.0.image_len, &mut |part| {
        hasher.update(part);
    });
    let copy = copy.map_err(|error| match error.kind() {
        // A file that became shorter meanwhile.
        io::ErrorKind::UnexpectedEof => {
            crate::Error::from(SignatureError::Altered(signature.key()))
        }
        _ => crate::Error::from(error).context("copying the artifact"),
    })?;
    signature.check_hash(hasher.finalize())?;
    let metadata = copy.metadata()?;
    Module::load_file(engine, copy, &metadata, Verify::HeaderOnly)
}
