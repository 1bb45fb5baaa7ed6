//! Machine code of functions that were compiled before, in this version of the module or another: what has not changed is not generated
//! again.
//!
//! ```text
//!   key    BLAKE3, keyed by (compiler, machine), of the function as the code generator gets it
//!   value  | checksum: 16 | what the code generator made of it, offsets and names relative to the function |
//! ```
//!
//! Why this is sound: the key is taken of the CLIF itself, behind lowering and every pass over it, with all settings of the code generator.
//! What lowering looked at in the module is in the CLIF or has not mattered, so nobody has to keep a list of what a function depends on. Two
//! things are in CLIF that do not matter for code, and Cranelift keeps them apart (`Function::params`): the position in the binary that
//! all others are relative to, and the names behind the numbers by which a function refers to others. Both are the function's own when a value is
//! read. So a function is found again that has only moved, or whose callees have other numbers than before.
//!
//! A value is machine code and trusted like it; the checksum is against accidents. A value that is none, or another key's, is a miss.

use crate::code::{Code, Locations, Piece, Reference};
use crate::origin::NO_LOCATION;
use cowling_abi::artifact::{AddressMap, CallSite, TrapTable};
use cranelift_codegen::ir::{Function, UserExternalNameRef};
use cranelift_codegen::isa::TargetIsa;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Where compiled functions are kept from one compilation to the next.
///
/// Functions are found by content, so a store is for any number of modules, engines and settings. It is used by several threads at once.
/// What it returns becomes code that runs: nobody may be able to change it who may not change the program.
pub trait CacheStore: fmt::Debug + Send + Sync {
    /// What was [inserted](Self::insert) under this key, if it is still there.
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>>;

    /// Keeps a value under a key that [`get`](Self::get) did not find, and says whether it did. Values under equal keys mean the same.
    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool;
}

/// A store as one compilation uses it.
#[derive(Copy, Clone)]
pub(crate) struct Incremental<'a> {
    store: &'a dyn CacheStore,
    /// Hash of everything in a key but the function.
    compiler: [u8; 32],
}

/// Bytes of a value's checksum.
const CHECKSUM: usize = 16;

/// Name of a function in a store.
pub(crate) struct Key([u8; 32]);

/// Hashes what is written in pieces of a few bytes, as `Hash` does it: BLAKE3 is fast for long ones.
struct Content {
    hasher: blake3::Hasher,
    pending: Vec<u8>,
}

impl Content {
    const FULL: usize = 1 << 14;

    fn new(key: &[u8; 32]) -> Content {
        Content {
            hasher: blake3::Hasher::new_keyed(key),
            pending: Vec::with_capacity(Self::FULL + 64),
        }
    }

    fn digest(mut self) -> [u8; 32] {
        self.hasher.update(&self.pending);
        *self.hasher.finalize().as_bytes()
    }
}

impl Hasher for Content {
    fn write(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= Self::FULL {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
    }

    fn finish(&self) -> u64 {
        // Nobody asks: the digest is what is wanted. Still what a hasher has to give.
        let digest = self.hasher.clone().update(&self.pending).finalize();
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl<'a> Incremental<'a> {
    /// The use of a store by a compilation for this machine.
    pub(crate) fn new(store: &'a dyn CacheStore, isa: &dyn TargetIsa) -> Incremental<'a> {
        let mut content = Content::new(&[0; 32]);
        crate::IDENTITY.hash(&mut content);
        isa.name().hash(&mut content);
        isa.triple().hash(&mut content);
        isa.flags().hash(&mut content);
        isa.isa_flags_hash_key().hash(&mut content);
        Incremental {
            store,
            compiler: content.digest(),
        }
    }

    /// The key of a function that is ready for the code generator. With locations and without it is another one.
    pub(crate) fn key(&self, function: &Function, locations: Locations) -> Key {
        let mut content = Content::new(&self.compiler);
        matches!(locations, Locations::Keep(_)).hash(&mut content);
        function.stencil.hash(&mut content);
        Key(content.digest())
    }

    /// The code of a function, if the store has it.
    pub(crate) fn get(&self, key: &Key, function: &Function, locations: Locations) -> Option<Code> {
        let value = self.store.get(&key.0)?;
        let code = decode(key, &value, function, base(function, locations));
        if code.is_none() {
            tracing::debug!("incremental compilation: a stored function is damaged");
        }
        code
    }

    /// Keeps the code of a function.
    pub(crate) fn put(&self, key: &Key, code: &Code, function: &Function, locations: Locations) {
        if let Some(value) = encode(key, code, function, base(function, locations)) {
            self.store.insert(&key.0, value);
        }
    }
}

/// The location that those in a value count from.
fn base(function: &Function, locations: Locations) -> u32 {
    match locations {
        Locations::Keep(start) => function.params.base_srcloc().bits().wrapping_sub(start),
        Locations::Drop => 0,
    }
}

/// A piece of code as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, [u8]>,
    align: u32,
    frame: u32,
    /// Offset, number of the function's name for it, addend.
    references: Vec<(u32, u32, i64)>,
    /// A [`TrapTable`].
    traps: Cow<'a, [u8]>,
    /// Locations from the function's [`base`] on, as an [`AddressMap`].
    locations: Cow<'a, [u8]>,
    call_sites: Cow<'a, [CallSite]>,
    unwind: Cow<'a, [u8]>,
}

fn encode(key: &Key, code: &Code, function: &Function, base: u32) -> Option<Vec<u8>> {
    let names = function.params.user_named_funcs();
    let numbers: HashMap<_, _> = names.iter().map(|(number, name)| (name, number)).collect();
    let references = code.references.iter().map(|reference| {
        let number = numbers.get(&reference.to.name())?;
        Some((reference.offset, number.as_u32(), reference.addend))
    });
    let locations = code.locations.iter().map(|&(offset, location)| {
        let known = location != NO_LOCATION;
        (offset, known.then(|| location.wrapping_sub(base)))
    });
    let stored = Stored {
        bytes: Cow::Borrowed(&code.bytes),
        align: code.align,
        frame: code.frame,
        references: references.collect::<Option<_>>()?,
        traps: TrapTable::encode(code.traps.iter().copied()).into(),
        locations: AddressMap::encode(locations).into(),
        call_sites: Cow::Borrowed(&code.call_sites),
        unwind: Cow::Borrowed(&code.unwind),
    };
    let value = vec![0; CHECKSUM];
    let mut value = postcard::to_extend(&stored, value).ok()?;
    let checksum = checksum(key, &value[CHECKSUM..]);
    value[..CHECKSUM].copy_from_slice(&checksum);
    Some(value)
}

fn decode(key: &Key, value: &[u8], function: &Function, base: u32) -> Option<Code> {
    let (sum, content) = value.split_first_chunk()?;
    if *sum != checksum(key, content) {
        return None;
    }
    let stored: Stored<'_> = postcard::from_bytes(content).ok()?;
    let names = function.params.user_named_funcs();
    let references = stored.references.iter().map(|&(offset, number, addend)| {
        let name = names.get(UserExternalNameRef::from_u32(number))?;
        Some(Reference {
            offset,
            to: Piece::named(name)?,
            addend,
        })
    });
    let locations = AddressMap(&stored.locations).iter();
    let locations = locations.map(|(offset, location)| {
        let location = location.map(|location| location.wrapping_add(base));
        (offset, location.unwrap_or(NO_LOCATION))
    });
    let code = Code {
        references: references.collect::<Option<_>>()?,
        traps: TrapTable(&stored.traps).iter().collect(),
        locations: locations.collect(),
        // Lowering knows them.
        sites: Box::default(),
        bytes: stored.bytes.into(),
        align: stored.align,
        frame: stored.frame,
        call_sites: stored.call_sites.into(),
        unwind: stored.unwind.into(),
    };
    // What is done with the code later relies on these.
    let len = code.bytes.len() as u64;
    let inside = |offset: u32, bytes: u64| u64::from(offset) + bytes <= len;
    let sane = code.align.is_power_of_two()
        && (code.references.iter()).all(|reference| inside(reference.offset, 4))
        && code.traps.iter().all(|(offset, _)| inside(*offset, 0))
        && code.locations.iter().all(|(offset, _)| inside(*offset, 0));
    sane.then_some(code)
}

fn checksum(key: &Key, content: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(content).finalize_xof().fill(&mut sum);
    sum
}
