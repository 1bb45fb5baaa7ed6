//! Keys: from and to files, and what identifies them.

use crate::error::{Context, Result};
use crate::trust::{self, Distrust};
use ed25519_dalek::Signer;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// No key file is longer.
const MAX_FILE: u64 = 16 << 10;

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is in no format that is understood.
    #[error("not a key: {0} bytes that are neither PEM text nor the 32 bytes of an Ed25519 key")]
    Format(
        /// Its length in bytes.
        usize,
    ),
    /// It is PEM text of something else, or damaged.
    #[error("not an Ed25519 {expected} key: {reason}")]
    Pem {
        /// `private` or `public`.
        expected: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A private key where a public one is needed.
    #[error("this is a private key; the public one is needed here")]
    Private,
    /// A public key where a private one is needed.
    #[error("this is a public key; the private one is needed here")]
    Public,
    /// A public key that is none, or for which anybody could make signatures.
    #[error(
        "not a public key: it is no point of the curve, or one of those for which anybody can make signatures, or not written as keys are"
    )]
    Weak,
    /// Others could have read a private key.
    #[error(
        "others than its owner may read or write this private key (mode {0:o}); `chmod 600` it"
    )]
    Exposed(
        /// The file's permission bits.
        u32,
    ),
    /// Others could have written a key.
    #[error(transparent)]
    Distrust(#[from] Distrust),
}

/// What a public key is called: the beginning of its BLAKE3 hash, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    pub(super) fn of(key: &[u8; 32]) -> KeyId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(key).as_bytes()[..16]);
        KeyId(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The public half of a key, with which signatures are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// A key from its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Format`] for another number of bytes; [`KeyError::Weak`] for bytes that are no key that may be trusted.
    pub fn from_bytes(bytes: &[u8]) -> Result<PublicKey, KeyError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| KeyError::Format(bytes.len()))?;
        match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() && is_canonical(key.as_bytes()) => Ok(PublicKey(key)),
            _ => Err(KeyError::Weak),
        }
    }

    /// A key in PEM text, as `cowling keygen` and `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// [`KeyError`] when it is not a public Ed25519 key.
    pub fn from_pem(text: &str) -> Result<PublicKey, KeyError> {
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(text.trim_start());
        let key = key.map_err(|error| KeyError::Pem {
            expected: "public",
            reason: error.to_string(),
        })?;
        PublicKey::from_bytes(key.as_bytes())
    }

    /// A key from a file: PEM text or 32 bytes. Who can write the file decides whom this process trusts, so it must belong to this user
    /// or root, and nobody else may write it.
    ///
    /// # Errors
    /// [`KeyError`] when it is not such a key or file; an I/O error when it cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<PublicKey> {
        read_key(path.as_ref(), |metadata, bytes| {
            trust::check_file(metadata)?;
            match std::str::from_utf8(bytes) {
                Ok(text) if looks_like_pem(text) => PublicKey::from_pem(text),
                _ => PublicKey::from_bytes(bytes),
            }
        })
    }

    /// The key as PEM text.
    ///
    /// # Errors
    /// None today.
    pub fn to_pem(&self) -> Result<String> {
        (self.0.to_public_key_pem(LineEnding::LF)).context("encoding a public key")
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What it is called.
    pub fn id(&self) -> KeyId {
        KeyId::of(self.as_bytes())
    }

    /// Is this the one signature, or one of the few, that the holder of the key makes for these bytes? Other encodings of a signature
    /// are refused.
    pub(super) fn verify(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(bytes, &signature).is_ok()
    }
}

impl AsRef<[PublicKey]> for PublicKey {
    fn as_ref(&self) -> &[PublicKey] {
        std::slice::from_ref(self)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// A private key, with which artifacts are signed. Its memory is overwritten when it is dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new key, from the system's random numbers.
    ///
    /// # Errors
    /// When the system has none.
    pub fn generate() -> Result<SigningKey> {
        let mut secret = Zeroizing::new([0; 32]);
        let mut filled = 0;
        while filled < secret.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            filled += rustix::rand::getrandom(&mut secret[filled..], flags)
                .context("no random numbers for a key")?;
        }
        Ok(SigningKey(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// A key from its 32 secret bytes.
    ///
    /// # Errors
    /// [`KeyError::Format`] for another number of bytes.
    pub fn from_bytes(secret: &[u8]) -> Result<SigningKey, KeyError> {
        let secret = secret
            .try_into()
            .map_err(|_| KeyError::Format(secret.len()))?;
        Ok(SigningKey(ed25519_dalek::SigningKey::from_bytes(secret)))
    }

    /// A key in PEM text (PKCS #8), as `cowling keygen` and `openssl genpkey -algorithm ed25519` write it.
    ///
    /// # Errors
    /// [`KeyError`] when it is not a private Ed25519 key.
    pub fn from_pem(text: &str) -> Result<SigningKey, KeyError> {
        if text.contains("PUBLIC KEY-----") {
            return Err(KeyError::Public);
        }
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(text.trim_start());
        let key = key.map_err(|error| KeyError::Pem {
            expected: "private",
            reason: error.to_string(),
        })?;
        Ok(SigningKey(key))
    }

    /// A key from a file: PEM text or 32 bytes. It must belong to this user or root, and nobody else may read or write it.
    ///
    /// # Errors
    /// [`KeyError`] when it is not such a key or file; an I/O error when it cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<SigningKey> {
        read_key(path.as_ref(), |metadata, bytes| {
            trust::check_file(metadata)?;
            let mode = metadata.mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(KeyError::Exposed(mode));
            }
            match std::str::from_utf8(bytes) {
                Ok(text) if looks_like_pem(text) => SigningKey::from_pem(text),
                _ => SigningKey::from_bytes(bytes),
            }
        })
    }

    /// Writes the key as PEM text into a new file that only this user may read.
    ///
    /// # Errors
    /// When there is a file already, or it cannot be written.
    pub fn write_new_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        // Without the public half, as openssl writes it, and older versions of it need it.
        let key = KeypairBytes {
            secret_key: *self.0.as_bytes(),
            public_key: None,
        };
        let pem = key.to_pkcs8_pem(LineEnding::LF);
        let pem = pem.context("encoding a private key")?;
        let mut new = OpenOptions::new();
        new.write(true).create_new(true).mode(0o600);
        let written = new.open(path).and_then(|mut file| {
            file.write_all(pem.as_bytes()).inspect_err(|_| {
                // The first failure is the one to report.
                let _ = fs::remove_file(path);
            })
        });
        written.with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Its public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public_key().id())
    }
}

/// Is a point's coordinate less than 2^255 - 19? Others are the same point under another name.
fn is_canonical(key: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = key;
    *low < 0xed || middle.iter().any(|&byte| byte != 0xff) || high & 0x7f != 0x7f
}

fn looks_like_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN ")
}

/// Reads a key from a file; errors name it.
fn read_key<K>(
    path: &Path,
    decode: impl FnOnce(&fs::Metadata, &[u8]) -> Result<K, KeyError>,
) -> Result<K> {
    let read = || -> Result<K> {
        let (file, metadata) = crate::artifact::open_regular(path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize));
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(decode(&metadata, &bytes)?)
    };
    read().with_context(|| format!("key `{}`", path.display()))
}
