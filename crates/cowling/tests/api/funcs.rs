//! Functions: made by the host and by guests, called dynamically and typed, nested and failing.

use crate::support::{assert_says, instance, linked, run, trap};
use cowling::*;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

macro_rules! arities {
    () => {
        arities!(@one);
    };
    ($first:ident $($rest:ident)*) => {
        arities!(@one $first $($rest)*);
        arities!($($rest)*);
    };
    (@one $($a:ident)*) => {{
        // The sum of arguments, each times its position, passed through a guest to a host function and back.
        let names: &[&str] = &[$(stringify!($a)),*];
        let n = names.len();
        let weighted = |all: &[i32]| -> i32 { all.iter().zip(1..).map(|(a, i)| a * i).sum() };
        let params = "i32 ".repeat(n);
        let gets: String = (0..n).map(|i| format!("(local.get {i})")).collect();
        let wat = format!(
            r#"(module (import "" "f" (func $f (param {params}) (result i32)))
                (import "" "g" (func $g (param {params}) (result i32)))
                (func (export "run") (param {params}) (result i32 i32) (call $f {gets}) (call $g {gets})))"#
        );
        let (mut store, instance) = linked::<i32>(&wat, |linker| {
            linker.func_wrap("", "f", move |$($a: i32),*| weighted(&[$($a),*])).unwrap();
            let with_caller = move |mut caller: Caller<'_, i32>, $($a: i32),*| {
                *caller.data_mut() += 1;
                -weighted(&[$($a),*])
            };
            linker.func_wrap("", "g", with_caller).unwrap();
        })
        .unwrap();
        let mut values = (1..).map(|i| 7 * i);
        $(let $a: i32 = values.next().unwrap();)*
        let sum = weighted(&[$($a),*]);
        let run = instance.get_func(&mut store, "run").unwrap();
        assert_eq!(run.ty(&store).params().len(), n);
        let typed = run.typed::<($(arities!(@i32 $a),)*), (i32, i32)>(&store).unwrap();
        assert_eq!(typed.call(&mut store, ($($a,)*)).unwrap(), (sum, -sum), "{n} parameters, typed");
        let mut results = [Val::I32(0), Val::I64(0)];
        run.call(&mut store, &[$(Val::I32($a)),*], &mut results).unwrap();
        assert_eq!((results[0].unwrap_i32(), results[1].unwrap_i32()), (sum, -sum), "{n} parameters, dynamic");
        assert_eq!(*store.data(), 2);
        assert_eq!(values.next(), Some(7 * (n as i32 + 1)));
    }};
    (@i32 $a:ident) => { i32 };
}

#[test]
fn closures_of_every_arity_are_host_functions() {
    arities!(a b c d e f g h i j k l m n o p);
}

#[test]
fn values_of_every_type_pass_through_guest_and_host_unchanged() {
    let types = ["i32", "i64", "f32", "f64", "v128", "funcref", "externref"];
    let mut wat = String::from("(module ");
    for ty in types {
        wat += &format!(r#"(import "" "{ty}" (func ${ty} (param {ty}) (result {ty})))"#);
    }
    for ty in types {
        wat += &format!(
            r#"(func (export "{ty}") (param {ty}) (result {ty}) (call ${ty} (call ${ty} (local.get 0))))"#
        );
    }
    wat += ")";
    let (mut store, instance) = linked::<u32>(&wat, |linker| {
        macro_rules! identity {
            ($($name:literal $ty:ty),*) => {$(
                linker
                    .func_wrap("", $name, |mut caller: Caller<'_, u32>, v: $ty| -> $ty {
                        *caller.data_mut() += 1;
                        v
                    })
                    .unwrap();
            )*};
        }
        identity!(
            "i32" u32, "i64" u64, "f32" f32, "f64" f64, "v128" V128, "funcref" Option<Func>,
            "externref" Option<Rooted<ExternRef>>
        );
    })
    .unwrap();
    macro_rules! check {
        ($name:literal, $ty:ty, $values:expr, $bits:expr) => {
            let f = instance
                .get_typed_func::<$ty, $ty>(&mut store, $name)
                .unwrap();
            for v in $values {
                let result = f.call(&mut store, v).unwrap();
                assert_eq!($bits(result), $bits(v), "{}", $name);
                let mut dynamic = [Val::I32(0)];
                f.func()
                    .call(&mut store, &[v.into()], &mut dynamic)
                    .unwrap();
                assert_eq!(
                    format!("{:?}", dynamic[0]),
                    format!("{:?}", Val::from(v)),
                    "{}",
                    $name
                );
            }
        };
    }
    check!("i32", i32, [0, -1, i32::MIN, i32::MAX], |v| v);
    check!("i32", u32, [0, 1, u32::MAX], |v| v);
    check!("i64", i64, [0, -1, i64::MIN, i64::MAX], |v| v);
    check!("i64", u64, [0, 1, u64::MAX], |v| v);
    let floats = [
        0.0,
        -0.0,
        1.5,
        f32::INFINITY,
        f32::from_bits(0x7fa0_0001),
        f32::from_bits(0xffc1_2345),
    ];
    check!("f32", f32, floats, f32::to_bits);
    let doubles = [
        0.0,
        -0.0,
        f64::MIN_POSITIVE / 2.0,
        f64::from_bits(0x7ff4_0000_0000_0001),
    ];
    check!("f64", f64, doubles, f64::to_bits);
    check!(
        "v128",
        V128,
        [V128::default(), V128::from(u128::MAX - 5)],
        |v| v
    );
    check!("v128", u128, [0, 1 << 100], |v| v);
    let own = instance.get_func(&mut store, "i32").unwrap();
    check!("funcref", Option<Func>, [None, Some(own)], |v| v);
    assert!(*store.data() >= 100);

    let f = instance.get_func(&mut store, "externref").unwrap();
    let f = f
        .typed::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(&store)
        .unwrap();
    assert!(f.call(&mut store, None).unwrap().is_none());
    let object = ExternRef::new(&mut store, "object").unwrap();
    let back = f.call(&mut store, Some(object)).unwrap().unwrap();
    assert!(Rooted::ref_eq(&store, &object, &back).unwrap());
}

#[test]
fn host_functions_return_nothing_values_tuples_and_results_of_them() {
    let mut store = Store::<()>::default();
    let cases: Vec<(Func, &str, &[i64])> = vec![
        (Func::wrap(&mut store, || {}), "(func)", &[]),
        (
            Func::wrap(&mut store, || -> Result<()> { Ok(()) }),
            "(func)",
            &[],
        ),
        (Func::wrap(&mut store, || 1u32), "(func (result i32))", &[1]),
        (
            Func::wrap(&mut store, || -> Result<i64> { Ok(2) }),
            "(func (result i64))",
            &[2],
        ),
        (
            Func::wrap(&mut store, || (1i32,)),
            "(func (result i32))",
            &[1],
        ),
        (
            Func::wrap(&mut store, || (1i32, 2i64)),
            "(func (result i32 i64))",
            &[1, 2],
        ),
        (
            Func::wrap(&mut store, || -> Result<(i64, i32, i64)> { Ok((3, 4, 5)) }),
            "(func (result i64 i32 i64))",
            &[3, 4, 5],
        ),
    ];
    for (func, ty, expected) in cases {
        assert_eq!(func.ty(&store).to_string(), ty);
        let mut results = vec![Val::I32(0); expected.len()];
        func.call(&mut store, &[], &mut results).unwrap();
        let found: Vec<i64> = results
            .iter()
            .map(|v| v.i64().or(v.i32().map(i64::from)).unwrap())
            .collect();
        assert_eq!(found, expected, "{ty}");
    }
}

#[test]
fn a_dynamic_host_function_has_any_type() {
    let engine = Engine::default();
    // More parameters and results than a closure may have.
    let n = 40;
    let ty = FuncType::new(&engine, vec![ValType::I64; n], vec![ValType::I64; n]);
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_new("", "reverse", ty, |_, params, results| {
            assert!(results.iter().all(|r| r.unwrap_i64() == 0));
            for (result, param) in results.iter_mut().zip(params.iter().rev()) {
                *result = *param;
            }
            Ok(())
        })
        .unwrap();
    let types = "i64 ".repeat(n);
    let gets: String = (0..n).map(|i| format!("(local.get {i})")).collect();
    let module = format!(
        r#"(module (import "" "reverse" (func $r (param {types}) (result {types})))
            (func (export "run") (param {types}) (result {types}) (call $r {gets})))"#
    );
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, &Module::new(&engine, module).unwrap())
        .unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    let args: Vec<Val> = (0..n as i64).map(Val::I64).collect();
    let mut results = vec![Val::I32(0); n];
    run.call(&mut store, &args, &mut results).unwrap();
    let results: Vec<i64> = results.iter().map(Val::unwrap_i64).collect();
    assert_eq!(results, (0..n as i64).rev().collect::<Vec<_>>());
}

#[test]
fn a_dynamic_host_function_that_leaves_a_wrong_result_fails() {
    let mut store = Store::<()>::default();
    let mut other = Store::<()>::default();
    let foreign = Func::wrap(&mut other, || {});
    for (ty, wrong) in [
        (ValType::I32, Val::I64(1)),
        (ValType::I64, Val::F64(1)),
        (ValType::FUNCREF, Val::null_extern_ref()),
        (ValType::FUNCREF, Val::FuncRef(Some(foreign))),
    ] {
        let ty = FuncType::new(store.engine(), [], [ty]);
        let func = Func::new(&mut store, ty.clone(), move |_, _, results| {
            results[0] = wrong;
            Ok(())
        });
        let module = format!(
            r#"(module (import "" "" (func $f {})) (func (export "run") (drop (call $f))))"#,
            &ty.to_string()[5..ty.to_string().len() - 1]
        );
        let module = Module::new(store.engine(), module).unwrap();
        let instance = Instance::new(&mut store, &module, &[func.into()]).unwrap();
        for error in [
            run(&mut store, &instance, "run").unwrap_err(),
            func.call(&mut store, &[], &mut [Val::I32(0)]).unwrap_err(),
        ] {
            assert!(
                matches!(
                    error.downcast_ref(),
                    Some(CallError::HostResult { index: 0, .. })
                ),
                "{error:?}"
            );
        }
    }
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let (mut store, instance) =
        instance(r#"(module (func (export "f") (param i32 i64) (result f32) (f32.const 1)))"#);
    let f = instance.get_func(&mut store, "f").unwrap();
    let (a, b) = (Val::I32(1), Val::I64(2));
    let cases: &[(&[Val], usize, &[&str])] = &[
        (
            &[a],
            1,
            &["2 arguments", "1", "(func (param i32 i64) (result f32))"],
        ),
        (&[], 1, &["2 arguments", "0"]),
        (&[a, b, b], 1, &["2 arguments", "3"]),
        (&[b, b], 1, &["argument 0", "i32", "i64"]),
        (&[a, a], 1, &["argument 1", "i64", "i32"]),
        (
            &[a, Val::null_func_ref()],
            1,
            &["argument 1", "i64", "funcref"],
        ),
        (&[a, b], 0, &["1 results", "0"]),
        (&[a, b], 2, &["1 results", "2"]),
    ];
    for (args, results, says) in cases {
        let mut results = vec![Val::I32(0); *results];
        assert_says(&f.call(&mut store, args, &mut results).unwrap_err(), says);
    }
    f.call(&mut store, &[a, b], &mut [a]).unwrap();
}

#[test]
fn a_typed_function_must_be_of_that_type() {
    let (mut store, instance) = instance(
        r#"(module (func (export "f") (param i32) (result i64) (i64.const 1)) (memory (export "memory") 1))"#,
    );
    let f = instance.get_func(&mut store, "f").unwrap();
    f.typed::<i32, i64>(&store).unwrap();
    f.typed::<(u32,), (u64,)>(&store).unwrap();
    let wrong = [
        f.typed::<i64, i64>(&store).map(drop),
        f.typed::<(), i64>(&store).map(drop),
        f.typed::<i32, ()>(&store).map(drop),
        f.typed::<i32, (i64, i64)>(&store).map(drop),
        f.typed::<f32, i64>(&store).map(drop),
        f.typed::<Option<Func>, i64>(&store).map(drop),
    ];
    for result in wrong {
        assert_says(
            &result.unwrap_err(),
            &["found (func (param i32) (result i64))"],
        );
    }
    let error = instance
        .get_typed_func::<i64, ()>(&mut store, "f")
        .unwrap_err();
    assert_says(
        &error,
        &[
            "\"f\"",
            "(func (param i64))",
            "(func (param i32) (result i64))",
        ],
    );
    let error = instance
        .get_typed_func::<(), ()>(&mut store, "nope")
        .unwrap_err();
    assert_says(&error, &["\"nope\""]);
    let error = instance
        .get_typed_func::<(), ()>(&mut store, "memory")
        .unwrap_err();
    assert_says(&error, &["\"memory\"", "(memory 1)"]);
}

/// A guest that calls the host, which calls the guest: `fac(n) = n * fac(n - 1)`, every other step in the host.
const NESTED: &str = r#"(module
    (import "" "host" (func $host (param i64) (result i64)))
    (func $fac (export "fac") (param i64) (result i64)
        (if (result i64) (i64.eqz (local.get 0))
            (then (i64.const 1))
            (else (i64.mul (local.get 0) (call $host (i64.sub (local.get 0) (i64.const 1)))))))
    (func (export "fail") (param i64) (result i64)
        (if (i64.eqz (local.get 0)) (then unreachable))
        (call $host (i64.sub (local.get 0) (i64.const 1)))))"#;

fn call_export(caller: &mut Caller<'_, &'static str>, n: i64) -> Result<i64> {
    let name = *caller.data();
    let func = caller.get_export(name).and_then(Extern::into_func).unwrap();
    func.typed::<i64, i64>(&caller)?.call(caller, n)
}

#[test]
fn guest_and_host_call_each_other_to_any_depth() {
    let (mut store, instance) = linked::<&str>(NESTED, |linker| {
        linker
            .func_wrap(
                "",
                "host",
                |mut caller: Caller<'_, &'static str>, n: i64| call_export(&mut caller, n),
            )
            .unwrap();
    })
    .unwrap();
    *store.data_mut() = "fac";
    let fac = instance
        .get_typed_func::<i64, i64>(&mut store, "fac")
        .unwrap();
    assert_eq!(fac.call(&mut store, 20).unwrap(), (1..=20).product::<i64>());
    assert_eq!(
        fac.call(&mut store, 200).unwrap(),
        (1..=200).fold(1i64, i64::wrapping_mul)
    );
}

#[test]
fn a_trap_deep_inside_comes_out_through_every_level() {
    let (mut store, instance) = linked::<&str>(NESTED, |linker| {
        linker
            .func_wrap(
                "",
                "host",
                |mut caller: Caller<'_, &'static str>, n: i64| call_export(&mut caller, n),
            )
            .unwrap();
    })
    .unwrap();
    *store.data_mut() = "fail";
    let fail = instance
        .get_typed_func::<i64, i64>(&mut store, "fail")
        .unwrap();
    for depth in [0, 1, 2, 30] {
        let error = fail.call(&mut store, depth).unwrap_err();
        assert_eq!(trap(&error), Trap::UnreachableCodeReached, "depth {depth}");
    }
    *store.data_mut() = "fac";
    let fac = instance
        .get_typed_func::<i64, i64>(&mut store, "fac")
        .unwrap();
    assert_eq!(fac.call(&mut store, 5).unwrap(), 120);
}

#[test]
fn a_host_function_may_swallow_a_trap_of_the_guest_it_called() {
    let (mut store, instance) = linked::<&str>(NESTED, |linker| {
        linker
            .func_wrap(
                "",
                "host",
                |mut caller: Caller<'_, &'static str>, n: i64| match call_export(&mut caller, n) {
                    Err(error) if error.downcast_ref::<Trap>().is_some() => 1000,
                    Err(_) => -1,
                    Ok(value) => value + 1,
                },
            )
            .unwrap();
    })
    .unwrap();
    *store.data_mut() = "fail";
    let fail = instance
        .get_typed_func::<i64, i64>(&mut store, "fail")
        .unwrap();
    for _ in 0..100 {
        assert_eq!(fail.call(&mut store, 4).unwrap(), 1003);
    }
}

#[derive(Debug, PartialEq)]
struct OwnError(u32);

impl fmt::Display for OwnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "own error {}", self.0)
    }
}

impl std::error::Error for OwnError {}

#[test]
fn a_host_functions_error_keeps_its_type() {
    let (mut store, instance) = linked::<&str>(NESTED, |linker| {
        linker
            .func_wrap(
                "",
                "host",
                |mut caller: Caller<'_, &'static str>, n: i64| -> Result<i64> {
                    match n {
                        7 => Err(OwnError(7).into()),
                        8 => Err(Error::from(OwnError(8)).context("while counting")),
                        n => call_export(&mut caller, n),
                    }
                },
            )
            .unwrap();
    })
    .unwrap();
    *store.data_mut() = "fac";
    let fac = instance
        .get_typed_func::<i64, i64>(&mut store, "fac")
        .unwrap();
    for (n, code) in [(8, 7), (9, 8), (12, 8)] {
        let error = fac.call(&mut store, n).unwrap_err();
        assert_eq!(
            error.downcast_ref::<OwnError>(),
            Some(&OwnError(code)),
            "{error:?}"
        );
        assert!(error.downcast_ref::<Trap>().is_none());
        assert!(error.downcast_ref::<WasmBacktrace>().is_some(), "{error:?}");
        assert_says(&error, &["own error"]);
    }
    // The host calls a host function: there is no guest in between, and no backtrace.
    let direct = Func::wrap(&mut store, || -> Result<()> { Err(OwnError(1).into()) });
    let error = direct.call(&mut store, &[], &mut []).unwrap_err();
    assert_eq!(error.downcast_ref::<OwnError>(), Some(&OwnError(1)));
}

#[test]
fn a_panic_of_a_host_function_comes_out_and_the_store_stays_usable() {
    let (mut store, instance) = linked::<&str>(NESTED, |linker| {
        linker
            .func_wrap(
                "",
                "host",
                |mut caller: Caller<'_, &'static str>, n: i64| {
                    if n == 1 {
                        std::panic::panic_any(OwnError(5));
                    }
                    call_export(&mut caller, n)
                },
            )
            .unwrap();
    })
    .unwrap();
    *store.data_mut() = "fac";
    let fac = instance
        .get_typed_func::<i64, i64>(&mut store, "fac")
        .unwrap();
    for n in [2, 3, 10] {
        let panic = catch_unwind(AssertUnwindSafe(|| fac.call(&mut store, n))).unwrap_err();
        assert_eq!(panic.downcast_ref::<OwnError>(), Some(&OwnError(5)));
        assert_eq!(fac.call(&mut store, 1).unwrap(), 1);
    }
    let panics = Func::wrap(&mut store, || -> () { panic!("called by the host") });
    let panic =
        catch_unwind(AssertUnwindSafe(|| panics.call(&mut store, &[], &mut []))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"called by the host"));
    assert_eq!(fac.call(&mut store, 1).unwrap(), 1);
}

#[test]
fn a_host_function_reaches_its_callers_exports_and_data() {
    let wat = r#"(module
        (import "" "print" (func $print (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "hello")
        (func (export "run") (call $print (i32.const 16) (i32.const 5))))"#;
    let (mut store, instance) = linked::<String>(wat, |linker| {
        linker
            .func_wrap(
                "",
                "print",
                |mut caller: Caller<'_, String>, at: u32, len: u32| -> Result<()> {
                    assert!(caller.get_export("nothing").is_none());
                    let memory = caller.get_export("memory").and_then(Extern::into_memory);
                    let (bytes, text) =
                        memory.context("no memory")?.data_and_store_mut(&mut caller);
                    text.push_str(std::str::from_utf8(&bytes[at as usize..][..len as usize])?);
                    bytes[0] = 42;
                    Ok(())
                },
            )
            .unwrap();
    })
    .unwrap();
    run(&mut store, &instance, "run").unwrap();
    assert_eq!(store.data(), "hello");
    assert_eq!(
        instance
            .get_memory(&mut store, "memory")
            .unwrap()
            .data(&store)[0],
        42
    );
}

#[test]
fn a_host_function_called_by_the_host_has_no_calling_instance() {
    let mut store = Store::<()>::default();
    let f = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| {
        assert!(caller.get_export("memory").is_none());
        n + 1
    });
    assert_eq!(
        f.typed::<i32, i32>(&store)
            .unwrap()
            .call(&mut store, 1)
            .unwrap(),
        2
    );
}

#[test]
fn function_references_are_callable_wherever_they_went() {
    let wat = r#"(module
        (import "" "apply" (func $apply (param funcref i32) (result i32)))
        (elem declare func $double)
        (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
        (table (export "table") 2 funcref)
        (func (export "run") (param i32) (result i32) (call $apply (ref.func $double) (local.get 0)))
        (func (export "indirect") (param i32) (result i32)
            (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1))))"#;
    let (mut store, instance) = linked::<()>(wat, |linker| {
        linker
            .func_wrap(
                "",
                "apply",
                |mut caller: Caller<'_, ()>, f: Option<Func>, n: i32| -> Result<i32> {
                    let f = f.context("null")?.typed::<i32, i32>(&caller)?;
                    f.call(&mut caller, n)
                },
            )
            .unwrap();
    })
    .unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    assert_eq!(run.call(&mut store, 21).unwrap(), 42);
    // A host function in a guest's table.
    let host = Func::wrap(&mut store, |n: i32| n - 1);
    let table = instance.get_table(&mut store, "table").unwrap();
    table.set(&mut store, 1, host.into()).unwrap();
    let indirect = instance
        .get_typed_func::<i32, i32>(&mut store, "indirect")
        .unwrap();
    assert_eq!(indirect.call(&mut store, 10).unwrap(), 9);
    let other = Func::wrap(&mut store, |_: i64| {});
    table.set(&mut store, 1, other.into()).unwrap();
    assert_eq!(
        trap(&indirect.call(&mut store, 10).unwrap_err()),
        Trap::BadSignature
    );
}

#[test]
fn calls_many_times_over_leave_nothing_behind() {
    let (mut store, instance) = linked::<u64>(
        r#"(module (import "" "count" (func $count (param externref)))
            (func (export "run") (param externref) (call $count (local.get 0)) (call $count (local.get 0))))"#,
        |linker| {
            linker
                .func_wrap("", "count", |mut caller: Caller<'_, u64>, _: Option<Rooted<ExternRef>>| {
                    *caller.data_mut() += 1;
                })
                .unwrap();
        },
    )
    .unwrap();
    let run = instance
        .get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut store, "run")
        .unwrap();
    let object = ExternRef::new(&mut store, 1).unwrap();
    for _ in 0..10_000 {
        run.call(&mut store, Some(object)).unwrap();
    }
    assert_eq!(*store.data(), 20_000);
}
