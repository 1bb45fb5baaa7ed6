//! Calling one exported function with values from the command line.

use cowling::{Context as _, Func, Result, Store, V128, Val, ValType, bail, ensure};
use std::ffi::OsString;

/// Calls `function`, called `name`, with `args` read as its parameters' types ask.
///
/// # Errors
/// [`Invoke::BadArguments`] when the arguments do not fit, before anything runs; else what the call gives.
pub(crate) fn invoke<T>(
    store: &mut Store<T>,
    name: &str,
    function: &Func,
    args: &[OsString],
) -> Result<Vec<Val>, Invoke> {
    let ty = function.ty(&*store);
    let arguments = arguments(name, &ty.params().collect::<Vec<_>>(), args)
        .map_err(|e| Invoke::BadArguments(format!("{e:#}")))?;
    let mut results = vec![Val::I32(0); ty.results().len()];
    function
        .call(&mut *store, &arguments, &mut results)
        .map_err(Invoke::Failed)?;
    Ok(results)
}

/// Why a function was not called to its end.
pub(crate) enum Invoke {
    /// The arguments are not the function's.
    BadArguments(String),
    /// The call failed.
    Failed(cowling::Error),
}

fn arguments(name: &str, params: &[ValType], args: &[OsString]) -> Result<Vec<Val>> {
    let types: Vec<_> = params.iter().map(ValType::to_string).collect();
    ensure!(
        params.len() == args.len(),
        "function `{name}` takes {} arguments ({}), {} were given",
        params.len(),
        types.join(" "),
        args.len()
    );
    let mut values = Vec::new();
    for (i, (ty, arg)) in params.iter().zip(args).enumerate() {
        let text = arg
            .to_str()
            .context("not valid UTF-8")
            .and_then(|text| value(ty, text));
        values.push(text.with_context(|| format!("argument {} of function `{name}`", i + 1))?);
    }
    Ok(values)
}

/// Reads a value: integers in decimal or, after `0x`, hexadecimal, signed or unsigned; floats as Rust does, and `nan:0x...` with its
/// payload; vectors as one unsigned integer or as lanes; references only as `null`.
fn value(ty: &ValType, text: &str) -> Result<Val> {
    let integer =
        |bits: u32| integer(text, bits).with_context(|| format!("`{text}` is not an {ty}"));
    Ok(match ty {
        ValType::I32 => Val::I32(integer(32)? as i32),
        ValType::I64 => Val::I64(integer(64)? as i64),
        ValType::F32 => {
            Val::F32(f32_bits(text).with_context(|| format!("`{text}` is not an f32"))?)
        }
        ValType::F64 => {
            Val::F64(f64_bits(text).with_context(|| format!("`{text}` is not an f64"))?)
        }
        ValType::V128 if text.contains(':') => Val::V128(V128::from(lanes(text)?)),
        ValType::V128 => Val::V128(V128::from(integer(128)?)),
        ValType::Ref(of) if text == "null" => Val::null_ref(of.heap_type()),
        ValType::Ref(_) => {
            bail!("a reference from the command line can only be `null`, not `{text}`")
        }
    })
}

/// The bits of an f32, or of a NaN with the payload that is given.
fn f32_bits(text: &str) -> Option<u32> {
    match nan_payload(text, f32::MANTISSA_DIGITS - 1) {
        Some(payload) => {
            let (sign, payload) = payload?;
            Some(u32::from(sign) << 31 | 0x7f80_0000 | payload as u32)
        }
        None => Some(text.parse::<f32>().ok()?.to_bits()),
    }
}

/// The same for an f64.
fn f64_bits(text: &str) -> Option<u64> {
    match nan_payload(text, f64::MANTISSA_DIGITS - 1) {
        Some(payload) => {
            let (sign, payload) = payload?;
            Some(u64::from(sign) << 63 | 0x7ff0_0000_0000_0000 | payload)
        }
        None => Some(text.parse::<f64>().ok()?.to_bits()),
    }
}

/// Of `nan:0x...`, perhaps with a sign in front: is it negative, and its payload of up to `bits`, if that is one.
fn nan_payload(text: &str, bits: u32) -> Option<Option<(bool, u64)>> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let digits = magnitude.strip_prefix("nan:0x")?;
    let payload = u64::from_str_radix(digits, 16).ok();
    let payload = payload.filter(|payload| *payload != 0 && *payload < 1 << bits);
    Some(payload.map(|payload| (negative, payload)))
}

/// A vector from its lanes, the first one first: `i32x4:1,2,3,4`.
fn lanes(text: &str) -> Result<u128> {
    const SHAPES: [(&str, u32, usize); 6] = [
        ("i8x16", 8, 16),
        ("i16x8", 16, 8),
        ("i32x4", 32, 4),
        ("i64x2", 64, 2),
        ("f32x4", 32, 4),
        ("f64x2", 64, 2),
    ];
    let (shape, values) = text.split_once(':').unwrap_or((text, ""));
    let known = SHAPES.iter().find(|(name, ..)| *name == shape);
    let (_, bits, count) = known.with_context(|| {
        format!("`{shape}` is no shape of a vector: i8x16, i16x8, i32x4, i64x2, f32x4 or f64x2")
    })?;
    let values: Vec<_> = values.split(',').collect();
    ensure!(
        values.len() == *count,
        "{shape} has {count} lanes, {} were given",
        values.len()
    );
    let mut vector = 0;
    for (i, value) in values.iter().enumerate() {
        let lane = match shape {
            "f32x4" => f32_bits(value).map(u128::from),
            "f64x2" => f64_bits(value).map(u128::from),
            _ => integer(value, *bits),
        };
        let lane = lane.with_context(|| format!("lane {i}: `{value}` is not one of {shape}"))?;
        vector |= lane << (*bits as usize * i);
    }
    Ok(vector)
}

/// The low `bits` of an integer that fits them as signed or unsigned number.
fn integer(text: &str, bits: u32) -> Option<u128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => u128::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    let mask = u128::MAX >> (128 - bits);
    let limit = if negative { 1 << (bits - 1) } else { mask };
    if magnitude > limit || digits.starts_with('+') {
        return None;
    }
    let value = if negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    };
    Some(value & mask)
}

/// A value as it is printed.
pub(crate) fn show(value: &Val) -> String {
    match value {
        Val::I32(v) => v.to_string(),
        Val::I64(v) => v.to_string(),
        Val::F32(bits) => show_float(
            f32::from_bits(*bits).into(),
            f32::from_bits(*bits),
            *bits >> 31 != 0,
            u64::from(*bits) & 0x7f_ffff,
            0x40_0000,
        ),
        Val::F64(bits) => show_float(
            f64::from_bits(*bits),
            f64::from_bits(*bits),
            *bits >> 63 != 0,
            *bits & 0xf_ffff_ffff_ffff,
            0x8_0000_0000_0000,
        ),
        Val::V128(v) => format!("{:#034x}", v.as_u128()),
        Val::FuncRef(Some(_)) => "a function".to_string(),
        Val::ExternRef(Some(_)) => "a host reference".to_string(),
        Val::FuncRef(None) | Val::ExternRef(None) => "null".to_string(),
        _ => "a reference".to_string(),
    }
}

/// A float, or a NaN with its payload if that is not the canonical one.
fn show_float(
    value: f64,
    shown: impl std::fmt::Display,
    negative: bool,
    payload: u64,
    canonical: u64,
) -> String {
    let sign = if negative { "-" } else { "" };
    match value.is_nan() {
        true if payload == canonical => format!("{sign}nan"),
        true => format!("{sign}nan:{payload:#x}"),
        false => shown.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_signed_or_unsigned() {
        let cases = [
            ("0", 32, Some(0)),
            ("4294967295", 32, Some(0xffff_ffff)),
            ("-1", 32, Some(0xffff_ffff)),
            ("-2147483648", 32, Some(0x8000_0000)),
            ("-2147483649", 32, None),
            ("4294967296", 32, None),
            ("0xff", 32, Some(255)),
            ("-0x10", 64, Some(0xffff_ffff_ffff_fff0)),
            ("18446744073709551616", 64, None),
            (
                "340282366920938463463374607431768211455",
                128,
                Some(u128::MAX),
            ),
            ("", 32, None),
            ("-", 32, None),
            ("--1", 32, None),
            ("+1", 32, None),
            ("1.5", 32, None),
        ];
        for (text, bits, expected) in cases {
            assert_eq!(integer(text, bits), expected, "{text} as {bits} bits");
        }
    }

    #[test]
    fn values_print_as_they_are_read() {
        let cases = [
            (ValType::I32, "-7"),
            (ValType::I64, "-9223372036854775808"),
            (ValType::F32, "0.1"),
            (ValType::F64, "-inf"),
            (ValType::F32, "nan"),
            (ValType::F64, "-nan"),
            (ValType::F32, "nan:0x123"),
            (ValType::F64, "-nan:0x123"),
        ];
        for (ty, text) in cases {
            assert_eq!(show(&value(&ty, text).unwrap()), text);
        }
        assert_eq!(show(&value(&ValType::FUNCREF, "null").unwrap()), "null");
        assert_eq!(show(&Val::V128(V128::from(1))), format!("0x{:032x}", 1));
    }

    #[test]
    fn vectors_are_read_lane_by_lane() {
        let cases = [
            ("i32x4:1,2,3,-1", 0xffff_ffff_0000_0003_0000_0002_0000_0001),
            ("i64x2:1,2", 2 << 64 | 1),
            ("f32x4:1,0,0,-0", 0x8000_0000 << 96 | 0x3f80_0000),
            ("f64x2:0,1", 0x3ff0_0000_0000_0000 << 64),
            (
                "i8x16:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
            ),
            ("i16x8:0xffff,0,0,0,0,0,0,0", 0xffff),
        ];
        for (text, expected) in cases {
            assert_eq!(lanes(text).ok(), Some(expected), "{text}");
        }
        for wrong in [
            "i32x4:1,2,3",
            "i32x4:",
            "i32x3:1,2,3",
            "i8x16:256",
            "f32x4:a,b,c,d",
            "i64x2:1,x",
        ] {
            assert!(lanes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["nan:0x0", "nan:0x800000", "nan:x", "nan:"] {
            assert_eq!(f32_bits(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn wrong_arguments_are_named() {
        let params = [ValType::I32, ValType::F64];
        let message = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            format!("{:#}", arguments("f", &params, &args).unwrap_err())
        };
        assert_eq!(
            message(&["1"]),
            "function `f` takes 2 arguments (i32 f64), 1 were given"
        );
        assert_eq!(
            message(&["x", "1"]),
            "argument 1 of function `f`: `x` is not an i32"
        );
        assert!(
            message(&["1", "two"]).starts_with("argument 2 of function `f`: `two` is not an f64")
        );
    }
}
