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

/// Reads a value: integers in decimal or, after `0x`, hexadecimal, signed or unsigned; floats as Rust does; vectors as one
/// unsigned integer; references only as `null`.
fn value(ty: &ValType, text: &str) -> Result<Val> {
    let integer =
        |bits: u32| integer(text, bits).with_context(|| format!("`{text}` is not an {ty}"));
    Ok(match ty {
        ValType::I32 => Val::I32(integer(32)? as i32),
        ValType::I64 => Val::I64(integer(64)? as i64),
        ValType::F32 => Val::F32(
            text.parse::<f32>()
                .with_context(|| format!("`{text}` is not an f32"))?
                .to_bits(),
        ),
        ValType::F64 => Val::F64(
            text.parse::<f64>()
                .with_context(|| format!("`{text}` is not an f64"))?
                .to_bits(),
        ),
        ValType::V128 => Val::V128(V128::from(integer(128)?)),
        ValType::Ref(of) if text == "null" => Val::null_ref(of.heap_type()),
        ValType::Ref(_) => {
            bail!("a reference from the command line can only be `null`, not `{text}`")
        }
    })
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
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(v) => format!("{:#034x}", v.as_u128()),
        Val::FuncRef(Some(_)) => "a function".to_string(),
        Val::ExternRef(Some(_)) => "a host reference".to_string(),
        Val::FuncRef(None) | Val::ExternRef(None) => "null".to_string(),
        _ => "a reference".to_string(),
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
        ];
        for (ty, text) in cases {
            assert_eq!(show(&value(&ty, text).unwrap()), text);
        }
        assert_eq!(show(&value(&ValType::FUNCREF, "null").unwrap()), "null");
        assert_eq!(show(&Val::V128(V128::from(1))), format!("0x{:032x}", 1));
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
