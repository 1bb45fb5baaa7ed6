//! Values as people read them: `7`, `1.5`, `null`; and with their type, `I32(7)`, `F32(1.5)`, for those who debug.

use super::Val;
use std::fmt;

/// A float. Of a NaN it tells sign and payload, unless they are the usual ones: NaNs that differ are seen to.
struct Float<F> {
    number: F,
    nan: Option<Nan>,
}

struct Nan {
    negative: bool,
    /// Unless it is the canonical NaN's.
    payload: Option<u64>,
}

fn single(bits: u32) -> Float<f32> {
    let number = f32::from_bits(bits);
    let payload = bits & 0x007f_ffff;
    let nan = number.is_nan().then(|| Nan {
        negative: number.is_sign_negative(),
        payload: (payload != 0x0040_0000).then_some(payload.into()),
    });
    Float { number, nan }
}

fn double(bits: u64) -> Float<f64> {
    let number = f64::from_bits(bits);
    let payload = bits & 0x000f_ffff_ffff_ffff;
    let nan = number.is_nan().then(|| Nan {
        negative: number.is_sign_negative(),
        payload: (payload != 0x0008_0000_0000_0000).then_some(payload),
    });
    Float { number, nan }
}

impl fmt::Display for Nan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.negative { "-NaN" } else { "NaN" })?;
        match self.payload {
            Some(payload) => write!(f, ":{payload:#x}"),
            None => Ok(()),
        }
    }
}

impl<F: fmt::Display> fmt::Display for Float<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nan {
            Some(nan) => nan.fmt(f),
            None => self.number.fmt(f),
        }
    }
}

impl<F: fmt::Debug> fmt::Debug for Float<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nan {
            Some(nan) => fmt::Display::fmt(nan, f),
            None => self.number.fmt(f),
        }
    }
}

/// With its type; of references, which one it is. Floats as the numbers they are: `F64(1.5)`, `F64(NaN)`, and a NaN that is not
/// the canonical one with its payload, `F64(NaN:0x1)`.
impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::I32(v) => f.debug_tuple("I32").field(v).finish(),
            Val::I64(v) => f.debug_tuple("I64").field(v).finish(),
            Val::F32(v) => f.debug_tuple("F32").field(&single(*v)).finish(),
            Val::F64(v) => f.debug_tuple("F64").field(&double(*v)).finish(),
            Val::V128(v) => f.debug_tuple("V128").field(v).finish(),
            Val::FuncRef(v) => f.debug_tuple("FuncRef").field(v).finish(),
            Val::ExternRef(v) => f.debug_tuple("ExternRef").field(v).finish(),
            Val::ExnRef(v) => f.debug_tuple("ExnRef").field(v).finish(),
            Val::AnyRef(v) => f.debug_tuple("AnyRef").field(v).finish(),
        }
    }
}

/// A number alone, a vector as its bits; of a reference only what it refers to, or `null`, as that is all that is known without its
/// store.
impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::I32(v) => v.fmt(f),
            Val::I64(v) => v.fmt(f),
            Val::F32(v) => single(*v).fmt(f),
            Val::F64(v) => double(*v).fmt(f),
            Val::V128(v) => fmt::Debug::fmt(v, f),
            Val::FuncRef(Some(_)) => f.write_str("a function"),
            Val::ExternRef(Some(_)) => f.write_str("a host value"),
            Val::ExnRef(Some(_)) => f.write_str("an exception"),
            Val::AnyRef(Some(_)) => f.write_str("an object"),
            Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) | Val::AnyRef(None) => {
                f.write_str("null")
            }
        }
    }
}
