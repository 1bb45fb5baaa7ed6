//! The signature of an artifact: a trailer after the image.
//!
//! ```text
//!   0    8   MAGIC, whose last byte is the version of this format
//!   8   32   key: the signer's public key, Ed25519
//!  40    8   image_len: bytes of the image, which is all that lies before the trailer
//!  48   32   image_hash: BLAKE3 of the image
//!  80   64   signature, over DOMAIN and bytes 0 to 80
//! 144    8   END
//! ```
//!
//! Invariant: no byte of a signed artifact can change without notice. The image is covered by its hash, the hash and everything else
//! before the signature by the signature, and END is compared.
//!
//! A signature comes after the fact, made perhaps on another machine than the artifact, and whoever does not look at it loads the
//! artifact as if it were not there: readers of ELF files do not mind what lies behind the last section.
//!
//! Making and checking signatures is the embedding API's business. This is the format alone.

const MAGIC: [u8; 8] = *b"COWLSIG\x01";
const END: [u8; 8] = *b"COWLEND\n";

/// What the signed bytes begin with, so that no signature made for anything else fits an artifact, nor the other way round. The last
/// byte is the version of the format.
const DOMAIN: &[u8] = b"Cowling artifact signature\x01";

const KEY: usize = 8;
const LEN: usize = KEY + 32;
const HASH: usize = LEN + 8;
const SIGNATURE: usize = HASH + 32;
const TAIL: usize = SIGNATURE + 64;

/// A signature and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The signer's public key.
    pub key: [u8; 32],
    /// Bytes of the image.
    pub image_len: u64,
    /// BLAKE3 of the image.
    pub image_hash: [u8; 32],
    /// The signature of [`Trailer::signed_bytes`].
    pub signature: [u8; 64],
}

/// Why there is no trailer at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTrailer {
    /// It does not end like one.
    Missing,
    /// It ends like one of another version of this format, or like one that was altered.
    OtherVersion,
}

impl Trailer {
    /// Size of a trailer in bytes.
    pub const SIZE: usize = TAIL + END.len();

    /// The bytes that are signed: all but the signature itself.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&self.encode()[..SIGNATURE]);
        bytes
    }

    /// What is appended to the image.
    pub fn encode(&self) -> [u8; Trailer::SIZE] {
        let mut bytes = [0; Trailer::SIZE];
        bytes[..KEY].copy_from_slice(&MAGIC);
        bytes[KEY..LEN].copy_from_slice(&self.key);
        bytes[LEN..HASH].copy_from_slice(&self.image_len.to_le_bytes());
        bytes[HASH..SIGNATURE].copy_from_slice(&self.image_hash);
        bytes[SIGNATURE..TAIL].copy_from_slice(&self.signature);
        bytes[TAIL..].copy_from_slice(&END);
        bytes
    }

    /// The trailer at the end of these bytes.
    ///
    /// # Errors
    /// When there is none.
    pub fn decode(end_of_file: &[u8]) -> Result<Trailer, NoTrailer> {
        let Some(bytes) = end_of_file.last_chunk::<{ Trailer::SIZE }>() else {
            return Err(NoTrailer::Missing);
        };
        match (bytes[..KEY] == MAGIC, bytes[TAIL..] == END) {
            (true, true) => {}
            (false, false) => return Err(NoTrailer::Missing),
            _ => return Err(NoTrailer::OtherVersion),
        }
        let mut trailer = Trailer {
            key: [0; 32],
            image_len: 0,
            image_hash: [0; 32],
            signature: [0; 64],
        };
        let mut image_len = [0; 8];
        trailer.key.copy_from_slice(&bytes[KEY..LEN]);
        image_len.copy_from_slice(&bytes[LEN..HASH]);
        trailer.image_len = u64::from_le_bytes(image_len);
        trailer.image_hash.copy_from_slice(&bytes[HASH..SIGNATURE]);
        trailer.signature.copy_from_slice(&bytes[SIGNATURE..TAIL]);
        Ok(trailer)
    }

    /// The image of an artifact, signed or not: everything before the trailer, if there is one.
    pub fn image_of(artifact: &[u8]) -> &[u8] {
        let image = artifact.len().saturating_sub(Trailer::SIZE);
        match Trailer::decode(artifact) {
            Ok(trailer) if trailer.image_len == image as u64 => &artifact[..image],
            _ => artifact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailer() -> Trailer {
        Trailer {
            key: [1; 32],
            image_len: 5,
            image_hash: [2; 32],
            signature: [3; 64],
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut file = b"image".to_vec();
        assert_eq!(Trailer::decode(&file), Err(NoTrailer::Missing));
        file.extend_from_slice(&trailer().encode());
        assert_eq!(Trailer::decode(&file), Ok(trailer()));
        assert_eq!(Trailer::image_of(&file), b"image");
        assert_eq!(Trailer::image_of(b"image"), b"image");
        // A length that does not fit: the trailer is part of the file, which then has the wrong length for its header.
        let file = [&b"other image"[..], &trailer().encode()].concat();
        assert_eq!(Trailer::image_of(&file), &file[..]);
    }

    #[test]
    fn every_byte_but_the_signature_is_signed_or_compared() {
        let encoded = trailer().encode();
        for at in 0..Trailer::SIZE {
            let mut altered = encoded;
            altered[at] ^= 1;
            let decoded = Trailer::decode(&altered);
            match at {
                0..KEY | TAIL.. => assert_eq!(decoded, Err(NoTrailer::OtherVersion), "byte {at}"),
                KEY..SIGNATURE => {
                    let signed = decoded.unwrap().signed_bytes();
                    assert_ne!(signed, trailer().signed_bytes(), "byte {at}");
                }
                SIGNATURE..TAIL => assert_ne!(decoded.unwrap().signature, trailer().signature),
            }
        }
    }
}
