//! What an engine did with a module, in a form that can be compared.

/// What happened, in order, until it ended or could not be compared any more.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The engine does not take the module.
    Refused(String),
    /// It was instantiated, or that failed; then its exports were called.
    Ran(Vec<Step>),
}

/// What the first step is.
pub const INSTANTIATION: &str = "instantiation";

impl Outcome {
    /// How many calls returned, and how many ended otherwise.
    pub fn calls(&self) -> (u64, u64) {
        let Outcome::Ran(steps) = self else {
            return (0, 0);
        };
        let calls = steps.iter().filter(|step| step.what != INSTANTIATION);
        calls.fold((0, 0), |(returned, ended), call| match call.ended {
            Ended::Returned(_) => (returned + 1, ended),
            _ => (returned, ended + 1),
        })
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What was called; instantiation is one, too.
    pub what: String,
    /// What came of it.
    pub ended: Ended,
    /// What the module's exports are after it.
    pub state: State,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It returned these.
    Returned(Vec<Value>),
    /// It trapped.
    Trapped(Trap),
    /// It ended with an exception that nobody caught.
    Threw,
    /// It needed more of something than there was, of which engines have different amounts: stack, objects. Nothing after that can be
    /// compared.
    Exhausted(String),
    /// It ended in a way that no engine should know.
    Failed(String),
}

/// Traps, as far as engines tell them apart.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    Unreachable,
    MemoryOutOfBounds,
    TableOutOfBounds,
    /// An element that is null or beyond the table was called; not all engines tell which.
    NoSuchFunction,
    DivisionByZero,
    IntegerOverflow,
    BadConversion,
    WrongFunctionType,
    NullReference,
    BadCast,
    ArrayOutOfBounds,
    Misaligned,
    UnsharedWait,
}

/// A value.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Value {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
    V128(u128),
    /// A null reference.
    Null,
    /// A small integer as a reference.
    I31(u32),
    /// Any other reference.
    Reference,
}

/// What can be seen of a module from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub globals: Vec<(String, Value)>,
    /// Sizes in bytes and hashes of contents.
    pub memories: Vec<(String, usize, u64)>,
    /// Sizes in elements.
    pub tables: Vec<(String, u64)>,
}

impl State {
    /// Brings exports into an order that is the same for every engine: by name.
    pub fn sort(&mut self) {
        self.globals.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.memories.sort();
        self.tables.sort();
    }
}

/// A hash of a memory's contents.
pub fn hash(bytes: &[u8]) -> u64 {
    // FNV over words: not for adversaries, but every byte counts.
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        (hash ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(29)
    })
}

/// The types of arguments that can be made up.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    I32,
    I64,
    F32,
    F64,
    V128,
    /// A reference that may be null, which it will be.
    Nullable,
    /// One that may not: such functions are not called.
    NotNullable,
}

/// Arguments for a call: the same for every engine. `None` if the function cannot be called.
pub fn arguments(seed: u64, call: usize, kinds: &[Kind]) -> Option<Vec<Value>> {
    let mut random =
        fastrand::Rng::with_seed(seed ^ (call as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    kinds
        .iter()
        .map(|kind| {
            let integer = match random.u8(..4) {
                0 => random.u64(..16),
                1 => random.u64(..1 << 20),
                2 => [0, 1, 1 << 31, 1 << 63, u64::MAX, u64::from(u32::MAX)][random.usize(..6)],
                _ => random.u64(..),
            };
            let float = random.i32(-1000..1000);
            Some(match kind {
                Kind::I32 => Value::I32(integer as u32),
                Kind::I64 => Value::I64(integer),
                Kind::F32 => Value::F32((float as f32 / 8.0).to_bits()),
                Kind::F64 => Value::F64((f64::from(float) / 8.0).to_bits()),
                Kind::V128 => Value::V128(random.u128(..)),
                Kind::Nullable => Value::Null,
                Kind::NotNullable => return None,
            })
        })
        .collect()
}
