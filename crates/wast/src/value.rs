//! Script values: arguments for the engine, and results against what a script expects.

use anyhow::{Result, bail, ensure};
use cowling::{AnyRef, ExternRef, HeapType, RefType, Store, V128, Val};
use std::fmt::Display;
use wast::core::{AbstractHeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// The engine's value for an argument of a call.
pub(crate) fn argument(store: &mut Store<()>, arg: &WastArg<'_>) -> Result<Val> {
    let WastArg::Core(arg) = arg else {
        bail!("component values are not supported");
    };
    Ok(match arg {
        WastArgCore::I32(v) => Val::I32(*v),
        WastArgCore::I64(v) => Val::I64(*v),
        WastArgCore::F32(v) => Val::F32(v.bits),
        WastArgCore::F64(v) => Val::F64(v.bits),
        WastArgCore::V128(v) => Val::V128(V128::from(u128::from_le_bytes(v.to_le_bytes()))),
        WastArgCore::RefNull(heap) => Val::null_ref(&heap_type(heap)?),
        WastArgCore::RefExtern(n) => Val::ExternRef(Some(ExternRef::new(store, *n)?)),
        WastArgCore::RefHost(n) => {
            let host = ExternRef::new(&mut *store, *n)?;
            Val::AnyRef(Some(AnyRef::convert_extern(store, host)?))
        }
    })
}

/// Checks the results of a call.
pub(crate) fn check_results(
    store: &mut Store<()>,
    found: &[Val],
    expected: &[WastRet<'_>],
) -> Result<()> {
    ensure!(
        found.len() == expected.len(),
        "expected {} results, found {}",
        expected.len(),
        found.len()
    );
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let WastRet::Core(expected) = expected else {
            bail!("component values are not supported");
        };
        if let Err(mismatch) = check(store, found, expected) {
            bail!("result {i}: {mismatch}");
        }
    }
    Ok(())
}

fn check(store: &mut Store<()>, found: &Val, expected: &WastRetCore<'_>) -> Result<()> {
    let matches = match (found, expected) {
        (_, WastRetCore::Either(cases)) => {
            cases.iter().any(|case| check(store, found, case).is_ok())
        }
        (Val::I32(v), WastRetCore::I32(e)) => v == e,
        (Val::I64(v), WastRetCore::I64(e)) => v == e,
        (Val::F32(v), WastRetCore::F32(e)) => f32_matches(*v, e),
        (Val::F64(v), WastRetCore::F64(e)) => f64_matches(*v, e),
        (Val::V128(v), WastRetCore::V128(e)) => v128_matches(v.as_u128(), e),
        (_, WastRetCore::RefNull(heap)) => match (found.ref_(), heap) {
            (Some(found), Some(heap)) => {
                found.is_null() && found.ty(&*store)?.heap_type().matches(&heap_type(heap)?)
            }
            (Some(found), None) => found.is_null(),
            (None, _) => false,
        },
        (Val::FuncRef(v), WastRetCore::RefFunc(None)) => v.is_some(),
        (Val::ExternRef(v), WastRetCore::RefExtern(None)) => v.is_some(),
        (Val::ExternRef(Some(v)), WastRetCore::RefExtern(Some(e))) => {
            v.data(&*store)?.and_then(|host| host.downcast_ref::<u32>()) == Some(e)
        }
        (Val::AnyRef(Some(v)), WastRetCore::RefHost(n)) => {
            let host = ExternRef::convert_any(&mut *store, *v)?;
            host.data(&*store)?
                .and_then(|host| host.downcast_ref::<u32>())
                == Some(n)
        }
        (_, expected) => match (found.ref_(), general_type(expected)) {
            (Some(found), Some(ty)) => found.matches_ty(&*store, &RefType::new(false, ty))?,
            _ => false,
        },
    };
    ensure!(
        matches,
        "expected {}, found {}",
        show_expected(expected),
        show(store, found)
    );
    Ok(())
}

/// What a reference refers to of which a script says no more than that.
fn general_type(expected: &WastRetCore<'_>) -> Option<HeapType> {
    Some(match expected {
        WastRetCore::RefAny => HeapType::Any,
        WastRetCore::RefEq => HeapType::Eq,
        WastRetCore::RefI31 | WastRetCore::RefI31Shared => HeapType::I31,
        WastRetCore::RefStruct => HeapType::Struct,
        WastRetCore::RefArray => HeapType::Array,
        _ => return None,
    })
}

/// What a reference refers to. Scripts name no defined types.
fn heap_type(heap: &wast::core::HeapType<'_>) -> Result<HeapType> {
    let wast::core::HeapType::Abstract { shared: false, ty } = heap else {
        bail!("references of type {heap:?} are not supported");
    };
    Ok(match ty {
        AbstractHeapType::Func => HeapType::Func,
        AbstractHeapType::NoFunc => HeapType::NoFunc,
        AbstractHeapType::Extern => HeapType::Extern,
        AbstractHeapType::NoExtern => HeapType::NoExtern,
        AbstractHeapType::Exn => HeapType::Exn,
        AbstractHeapType::NoExn => HeapType::NoExn,
        AbstractHeapType::Any => HeapType::Any,
        AbstractHeapType::Eq => HeapType::Eq,
        AbstractHeapType::I31 => HeapType::I31,
        AbstractHeapType::Struct => HeapType::Struct,
        AbstractHeapType::Array => HeapType::Array,
        AbstractHeapType::None => HeapType::None,
        other => bail!("references of type {other:?} are not supported"),
    })
}

fn f32_matches(bits: u32, expected: &NanPattern<F32>) -> bool {
    const QUIET: u32 = 0x7fc0_0000;
    match expected {
        NanPattern::CanonicalNan => bits & !(1 << 31) == QUIET,
        NanPattern::ArithmeticNan => bits & QUIET == QUIET,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn f64_matches(bits: u64, expected: &NanPattern<F64>) -> bool {
    const QUIET: u64 = 0x7ff8_0000_0000_0000;
    match expected {
        NanPattern::CanonicalNan => bits & !(1 << 63) == QUIET,
        NanPattern::ArithmeticNan => bits & QUIET == QUIET,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn v128_matches(bits: u128, expected: &V128Pattern) -> bool {
    fn same<const N: usize>(bits: u128, lanes: impl IntoIterator<Item = [u8; N]>) -> bool {
        let bytes: Vec<u8> = lanes.into_iter().flatten().collect();
        bytes == bits.to_le_bytes()
    }
    match expected {
        V128Pattern::I8x16(lanes) => same(bits, lanes.map(i8::to_le_bytes)),
        V128Pattern::I16x8(lanes) => same(bits, lanes.map(i16::to_le_bytes)),
        V128Pattern::I32x4(lanes) => same(bits, lanes.map(i32::to_le_bytes)),
        V128Pattern::I64x2(lanes) => same(bits, lanes.map(i64::to_le_bytes)),
        V128Pattern::F32x4(lanes) => (0..)
            .zip(lanes)
            .all(|(i, lane)| f32_matches((bits >> (32 * i)) as u32, lane)),
        V128Pattern::F64x2(lanes) => (0..)
            .zip(lanes)
            .all(|(i, lane)| f64_matches((bits >> (64 * i)) as u64, lane)),
    }
}

/// A value as scripts write it.
pub(crate) fn show(store: &Store<()>, value: &Val) -> String {
    match value {
        Val::I32(v) => format!("(i32.const {v})"),
        Val::I64(v) => format!("(i64.const {v})"),
        Val::F32(bits) => format!(
            "(f32.const {}) with bits {bits:#010x}",
            f32::from_bits(*bits)
        ),
        Val::F64(bits) => format!(
            "(f64.const {}) with bits {bits:#018x}",
            f64::from_bits(*bits)
        ),
        Val::V128(v) => show_lanes(
            "i32x4",
            (0..4).map(|i| format!("{:#010x}", (v.as_u128() >> (32 * i)) as u32)),
        ),
        Val::FuncRef(None) => "(ref.null func)".to_string(),
        Val::ExternRef(None) => "(ref.null extern)".to_string(),
        Val::FuncRef(Some(_)) => "(ref.func)".to_string(),
        Val::ExternRef(Some(reference)) => match reference.data(store) {
            Ok(Some(host)) => match host.downcast_ref::<u32>() {
                Some(n) => format!("(ref.extern {n})"),
                None => "(ref.extern) of the host".to_string(),
            },
            _ => "(ref.extern) that is stale".to_string(),
        },
        other => format!("{other:?}"),
    }
}

fn show_expected(expected: &WastRetCore<'_>) -> String {
    match expected {
        WastRetCore::I32(v) => format!("(i32.const {v})"),
        WastRetCore::I64(v) => format!("(i64.const {v})"),
        WastRetCore::F32(v) => format!("(f32.const {})", show_f32(v)),
        WastRetCore::F64(v) => format!("(f64.const {})", show_f64(v)),
        WastRetCore::V128(V128Pattern::I8x16(lanes)) => show_lanes("i8x16", lanes),
        WastRetCore::V128(V128Pattern::I16x8(lanes)) => show_lanes("i16x8", lanes),
        WastRetCore::V128(V128Pattern::I32x4(lanes)) => {
            show_lanes("i32x4", lanes.map(|v| format!("{v:#010x}")))
        }
        WastRetCore::V128(V128Pattern::I64x2(lanes)) => {
            show_lanes("i64x2", lanes.map(|v| format!("{v:#018x}")))
        }
        WastRetCore::V128(V128Pattern::F32x4(lanes)) => {
            show_lanes("f32x4", lanes.iter().map(show_f32))
        }
        WastRetCore::V128(V128Pattern::F64x2(lanes)) => {
            show_lanes("f64x2", lanes.iter().map(show_f64))
        }
        WastRetCore::RefNull(None) => "(ref.null)".to_string(),
        WastRetCore::RefExtern(Some(n)) => format!("(ref.extern {n})"),
        WastRetCore::RefFunc(None) => "(ref.func)".to_string(),
        WastRetCore::Either(cases) => {
            let cases: Vec<_> = cases.iter().map(show_expected).collect();
            cases.join(" or ")
        }
        other => format!("{other:?}"),
    }
}

fn show_lanes<L: Display>(shape: &str, lanes: impl IntoIterator<Item = L>) -> String {
    let lanes: Vec<_> = lanes.into_iter().map(|lane| lane.to_string()).collect();
    format!("(v128.const {shape} {})", lanes.join(" "))
}

fn show_f32(pattern: &NanPattern<F32>) -> String {
    match pattern {
        NanPattern::CanonicalNan => "nan:canonical".to_string(),
        NanPattern::ArithmeticNan => "nan:arithmetic".to_string(),
        NanPattern::Value(v) => format!("{} with bits {:#010x}", f32::from_bits(v.bits), v.bits),
    }
}

fn show_f64(pattern: &NanPattern<F64>) -> String {
    match pattern {
        NanPattern::CanonicalNan => "nan:canonical".to_string(),
        NanPattern::ArithmeticNan => "nan:arithmetic".to_string(),
        NanPattern::Value(v) => format!("{} with bits {:#018x}", f64::from_bits(v.bits), v.bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_patterns_look_at_the_right_bits() {
        let (canonical, arithmetic) = (NanPattern::CanonicalNan, NanPattern::ArithmeticNan);
        // bits, is it canonical, is it arithmetic
        let cases = [
            (0x7fc0_0000, true, true),
            (0xffc0_0000, true, true),
            (0x7fc0_0001, false, true),
            (0x7f80_0001, false, false),
            (0x7f80_0000, false, false),
            (0x3f80_0000, false, false),
        ];
        for (bits, is_canonical, is_arithmetic) in cases {
            assert_eq!(f32_matches(bits, &canonical), is_canonical, "{bits:#x}");
            assert_eq!(f32_matches(bits, &arithmetic), is_arithmetic, "{bits:#x}");
        }
        assert!(f64_matches(
            0xfff8_0000_0000_0000,
            &NanPattern::CanonicalNan
        ));
        assert!(!f64_matches(
            0x7ff8_0000_0000_0001,
            &NanPattern::CanonicalNan
        ));
        assert!(f64_matches(
            0x7ff8_0000_0000_0001,
            &NanPattern::ArithmeticNan
        ));
        assert!(!f64_matches(
            0x7ff0_0000_0000_0001,
            &NanPattern::ArithmeticNan
        ));
    }

    #[test]
    fn lanes_are_in_little_endian_order() {
        let bits = u128::from_le_bytes([1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0]);
        assert!(v128_matches(
            bits,
            &V128Pattern::I16x8([1, 2, 3, 4, 5, 6, 7, 8])
        ));
        assert!(!v128_matches(
            bits,
            &V128Pattern::I16x8([8, 7, 6, 5, 4, 3, 2, 1])
        ));
        let nan_low = u128::from(f64::NAN.to_bits()) | u128::from(1.0f64.to_bits()) << 64;
        let one = NanPattern::Value(F64 {
            bits: 1.0f64.to_bits(),
        });
        assert!(v128_matches(
            nan_low,
            &V128Pattern::F64x2([NanPattern::CanonicalNan, one])
        ));
        assert!(!v128_matches(
            nan_low,
            &V128Pattern::F64x2([one, NanPattern::CanonicalNan])
        ));
    }
}
