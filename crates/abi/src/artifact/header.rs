//! The artifact's header: what it is for, and whether it is whole.
//!
//! ```text
//!   0   8   MAGIC
//!   8   4   length n of the encoded Header
//!  12  32   BLAKE3 of the n bytes that follow
//!  44   n   Header, postcard
//! ```
//!
//! The section is written last. `content_hash` covers the image with this section's bytes left out.

use serde::{Deserialize, Serialize};

/// First bytes of the header section.
pub const MAGIC: [u8; 8] = *b"COWLING1";

const PREFIX: usize = 8 + 4 + 32;

/// What an artifact is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of Cowling that compiled it, with the code generator's, and what the embedder adds.
    pub version: String,
    /// Target triple.
    pub target: String,
    /// Processor features the code was generated for, sorted.
    pub cpu_features: Vec<String>,
    /// Settings the code was generated under: [`crate::knobs::Knobs::code_fingerprint`].
    pub settings: String,
    /// Size of the whole image in bytes.
    pub file_len: u64,
    /// BLAKE3 of the whole image without the bytes of the header section.
    pub content_hash: [u8; 32],
}

/// Why an artifact is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It has no valid header.
    #[error("not a Cowling artifact: {0}")]
    NotAnArtifact(&'static str),
    /// The header's own checksum does not match.
    #[error("artifact is corrupted: its header was altered")]
    HeaderAltered,
    /// The file's size is not what the header says.
    #[error("artifact is truncated or extended: it should have {expected} bytes but has {found}")]
    WrongLength {
        /// Size in bytes according to the header.
        expected: u64,
        /// Size in bytes found.
        found: u64,
    },
    /// The content's checksum does not match.
    #[error("artifact is corrupted: its content was altered")]
    ContentAltered,
    /// Made by another version.
    #[error("artifact was compiled by version `{found}`, this is `{expected}`; compile it again")]
    Version {
        /// This engine's version.
        expected: String,
        /// The artifact's.
        found: String,
    },
    /// Made for another target.
    #[error("artifact was compiled for target `{found}`, this machine is `{expected}`")]
    Target {
        /// This machine's target.
        expected: String,
        /// The artifact's.
        found: String,
    },
    /// Needs a processor feature that is not here.
    #[error("artifact needs the processor feature `{0}`, which this machine does not have")]
    CpuFeature(String),
    /// Made under other settings.
    #[error("artifact was compiled with `{found}`, this engine has `{expected}`")]
    Settings {
        /// This engine's settings that differ.
        expected: String,
        /// The artifact's.
        found: String,
    },
}

impl Header {
    /// Bytes of the header section.
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("a Header always encodes");
        let mut out = Vec::with_capacity(PREFIX + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(blake3::hash(&body).as_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads the header section.
    ///
    /// # Errors
    /// When it is not one or was altered.
    pub fn decode(section: &[u8]) -> Result<Header, HeaderError> {
        let (prefix, body) = section
            .split_at_checked(PREFIX)
            .ok_or(HeaderError::NotAnArtifact("header too short"))?;
        if prefix[..8] != MAGIC {
            return Err(HeaderError::NotAnArtifact("wrong magic number"));
        }
        let len = u32::from_le_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]) as usize;
        let body = body
            .get(..len)
            .ok_or(HeaderError::NotAnArtifact("header cut off"))?;
        if blake3::hash(body).as_bytes()[..] != prefix[12..] {
            return Err(HeaderError::HeaderAltered);
        }
        postcard::from_bytes(body).map_err(|_| HeaderError::NotAnArtifact("header does not decode"))
    }

    /// Does its code count fuel?
    pub fn counts_fuel(&self) -> bool {
        self.settings
            .split(' ')
            .any(|word| word == "consume_fuel=true")
    }

    /// Is the artifact for an engine whose own header would be `engine`? Only `version`, `target`, `cpu_features` (those of
    /// this machine) and `settings` of `engine` are looked at.
    ///
    /// # Errors
    /// Names the first thing that differs.
    pub fn check_compatible(&self, engine: &Header) -> Result<(), HeaderError> {
        if self.version != engine.version {
            return Err(HeaderError::Version {
                expected: engine.version.clone(),
                found: self.version.clone(),
            });
        }
        if self.target != engine.target {
            return Err(HeaderError::Target {
                expected: engine.target.clone(),
                found: self.target.clone(),
            });
        }
        if let Some(missing) = self
            .cpu_features
            .iter()
            .find(|f| !engine.cpu_features.contains(f))
        {
            return Err(HeaderError::CpuFeature(missing.clone()));
        }
        if self.settings != engine.settings {
            let differing = |of: &str, other: &str| {
                let other: Vec<_> = other.split(' ').collect();
                let words: Vec<_> = of.split(' ').filter(|w| !other.contains(w)).collect();
                words.join(" ")
            };
            return Err(HeaderError::Settings {
                expected: differing(&engine.settings, &self.settings),
                found: differing(&self.settings, &engine.settings),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            version: "1".into(),
            target: "x86_64".into(),
            cpu_features: vec!["avx".into()],
            settings: "a=1 b=2".into(),
            file_len: 7,
            content_hash: [3; 32],
        }
    }

    #[test]
    fn round_trip_and_every_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&altered).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Header::decode(&bytes[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn whether_code_counts_fuel_is_in_the_settings() {
        for on in [true, false] {
            let knobs = crate::knobs::Knobs {
                consume_fuel: on,
                ..Default::default()
            };
            let settings = knobs.code_fingerprint();
            let header = Header {
                settings,
                ..header()
            };
            assert_eq!(header.counts_fuel(), on);
        }
    }

    #[test]
    fn what_differs_is_named() {
        let mut other = header();
        other.settings = "a=1 b=3".into();
        assert_eq!(
            header().check_compatible(&other),
            Err(HeaderError::Settings {
                expected: "b=3".into(),
                found: "b=2".into()
            })
        );
        other = header();
        other.cpu_features.clear();
        assert_eq!(
            header().check_compatible(&other),
            Err(HeaderError::CpuFeature("avx".into()))
        );
    }
}
