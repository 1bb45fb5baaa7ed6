//! Raw values: what goes in comes out, by every way there is.

use crate::support::assert_says;
use cowling::*;
use std::mem::MaybeUninit;

/// Returns its arguments in the opposite order.
const SWAP: &str = r#"(module
    (import "host" "mirror" (func $mirror
        (param i32 i64 f32 f64 v128 externref anyref funcref)
        (result funcref anyref externref v128 f64 f32 i64 i32)))
    (func (export "run")
        (param i32 i64 f32 f64 v128 externref anyref funcref)
        (result funcref anyref externref v128 f64 f32 i64 i32)
        (call $mirror (local.get 0) (local.get 1) (local.get 2) (local.get 3)
            (local.get 4) (local.get 5) (local.get 6) (local.get 7))))"#;

fn mirror(_: Caller<'_, ()>, values: &mut [MaybeUninit<ValRaw>]) -> Result<()> {
    values.reverse();
    Ok(())
}

fn params() -> [ValType; 8] {
    [
        ValType::I32,
        ValType::I64,
        ValType::F32,
        ValType::F64,
        ValType::V128,
        ValType::EXTERNREF,
        ValType::ANYREF,
        ValType::FUNCREF,
    ]
}

#[test]
fn unchecked_calls_of_unchecked_functions_pass_values_of_every_type() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut types = params();
    let ty = FuncType::new(&engine, types.clone(), types.iter().rev().cloned());
    types.reverse();
    let mut linker = Linker::<()>::new(&engine);
    // SAFETY: the results are the parameters from the last to the first, by their types as well.
    unsafe { linker.func_new_unchecked("host", "mirror", ty.clone(), mirror) }.unwrap();
    let module = Module::new(&engine, SWAP).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    // SAFETY: as above.
    let direct = unsafe { Func::new_unchecked(&mut store, ty, mirror) };
    let object = ExternRef::new(&mut store, 7u8).unwrap();
    let number = AnyRef::from_i31(&mut store, I31::wrapping_u32(9));
    let args = [
        Val::I32(-1),
        Val::I64(i64::MIN),
        Val::from(1.5f32),
        Val::from(-2.5f64),
        Val::V128(V128::from(u128::MAX - 1)),
        object.into(),
        number.into(),
        run.into(),
    ];
    for func in [run, direct] {
        let mut raw = args.map(|value| value.to_raw(&mut store).unwrap());
        // SAFETY: as many values as parameters and results, of their types.
        unsafe { func.call_unchecked(&mut store, &raw mut raw[..]) }.unwrap();
        let mut checked = [Val::I32(0); 8];
        func.call(&mut store, &args, &mut checked).unwrap();
        for (position, (raw, ty)) in raw.into_iter().zip(&types).enumerate() {
            // SAFETY: the function's results are of these types.
            let value = unsafe { Val::from_raw(&mut store, raw, ty.clone()) };
            for value in [value, checked[position]] {
                let expected = args[7 - position];
                assert_eq!(value.ty(&store).unwrap(), expected.ty(&store).unwrap());
                let same = [value, expected].map(|value| value.to_raw(&mut store).unwrap());
                assert_eq!(same[0].get_v128(), same[1].get_v128(), "{position}");
            }
        }
    }
}

#[test]
fn numbers_read_back_as_they_were_written() {
    let all = [
        (ValRaw::i32(-2), -2i32 as u32 as u128),
        (ValRaw::u32(3), 3),
        (ValRaw::i64(-4), -4i64 as u64 as u128),
        (ValRaw::u64(5), 5),
        (ValRaw::f32(1f32.to_bits()), u128::from(1f32.to_bits())),
        (ValRaw::f64(2f64.to_bits()), u128::from(2f64.to_bits())),
        (ValRaw::v128(u128::MAX), u128::MAX),
        (ValRaw::externref(6), 6),
        (ValRaw::anyref(7), 7),
        (ValRaw::exnref(8), 8),
        (ValRaw::funcref(std::ptr::null_mut()), 0),
    ];
    for (value, bits) in all {
        assert_eq!(value.get_v128(), bits, "{value:?}");
        assert_eq!(value.get_i32(), bits as i32);
        assert_eq!(value.get_u32(), bits as u32);
        assert_eq!(value.get_i64(), bits as i64);
        assert_eq!(value.get_u64(), bits as u64);
        assert_eq!(
            (value.get_f32(), value.get_f64()),
            (bits as u32, bits as u64)
        );
        assert_eq!(value.get_externref(), value.get_anyref());
        assert_eq!(value.get_exnref(), bits as u32);
        assert_eq!(value.get_funcref().addr(), bits as usize);
    }
}

#[test]
fn an_error_of_an_unchecked_function_stops_the_guest() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(&engine, [ValType::I32], []);
    // SAFETY: the argument is read as what it is, and there are no results.
    let fails = unsafe {
        Func::new_unchecked(&mut store, ty, |caller: Caller<'_, ()>, values| {
            assert!(caller.data() == &());
            bail!("no {}", values[0].assume_init().get_i32())
        })
    };
    let module = r#"(module (import "" "" (func $f (param i32)))
        (func (export "run") (call $f (i32.const 5))))"#;
    let module = Module::new(&engine, module).unwrap();
    let instance = Instance::new(&mut store, &module, &[fails.into()]).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_says(&error, &["no 5"]);
    assert!(error.downcast_ref::<WasmBacktrace>().is_some());
}

#[test]
fn functions_are_found_by_their_address() {
    let mut store = Store::<()>::default();
    let mut other = Store::<()>::default();
    let func = Func::wrap(&mut store, |x: i32| x + 1);
    let raw = func.to_raw(&mut store);
    // SAFETY: it is the address of a function of this store, or null.
    let (again, null) = unsafe {
        (
            Func::from_raw(&mut store, raw),
            Func::from_raw(&mut store, std::ptr::null_mut()),
        )
    };
    assert_eq!((again, null), (Some(func), None));
    assert!(func.to_raw(&mut other).is_null());
    assert_says(&Val::from(func).to_raw(&mut other).unwrap_err(), &["store"]);
    // SAFETY: they are of these types. That of another store is refused when it is called.
    let (here, there) = unsafe {
        (
            TypedFunc::<i32, i32>::new_unchecked(&store, func),
            TypedFunc::<i32, i32>::new_unchecked(&other, func),
        )
    };
    assert_eq!(here.call(&mut store, 1).unwrap(), 2);
    assert_says(&there.call(&mut other, 1).unwrap_err(), &["store"]);
    let mut values = [ValRaw::i32(1)];
    // SAFETY: one parameter, one result. A function of another store is refused.
    let refused = unsafe { func.call_unchecked(&mut other, &raw mut values[..]) };
    assert_says(&refused.unwrap_err(), &["store"]);
}
