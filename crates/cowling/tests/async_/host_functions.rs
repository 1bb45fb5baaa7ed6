//! Asynchronous host functions: of every kind of type, with and without a caller's data, failing.

use crate::executor::block_on;
use crate::support::{Wait, When, assert_says, linked, run_async};
use cowling::*;

#[test]
fn closures_of_many_types_are_asynchronous_host_functions() {
    let (mut store, instance) = linked::<Vec<String>>(
        r#"(module
            (import "host" "none" (func $none))
            (import "host" "one" (func $one (param i64) (result f64)))
            (import "host" "many" (func $many (param i32 i64 f32 f64) (result f64 i32)))
            (import "host" "fallible" (func $fallible (param i32) (result i32)))
            (func (export "run") (result f64 i32 f64 i32)
                (call $none)
                (call $many (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4))
                (call $one (i64.const 5))
                (call $fallible (i32.const 6))))"#,
        |linker| {
            linker
                .func_wrap_async(
                    "host",
                    "none",
                    |mut caller: Caller<'_, Vec<String>>, (): ()| {
                        Box::new(async move {
                            Wait::until(When::After(1)).await;
                            caller.data_mut().push("none".into());
                        })
                    },
                )
                .unwrap();
            linker
                .func_wrap_async("host", "one", |_: Caller<'_, Vec<String>>, (x,): (i64,)| {
                    Box::new(async move { x as f64 })
                })
                .unwrap();
            linker
                .func_wrap_async(
                    "host",
                    "many",
                    |mut caller: Caller<'_, Vec<String>>, (a, b, c, d): (i32, i64, f32, f64)| {
                        Box::new(async move {
                            caller.data_mut().push(format!("{a} {b} {c} {d}"));
                            Wait::until(When::After(1)).await;
                            (d, a)
                        })
                    },
                )
                .unwrap();
            linker
                .func_wrap_async(
                    "host",
                    "fallible",
                    |_: Caller<'_, Vec<String>>, (x,): (i32,)| {
                        Box::new(async move { Ok::<_, Error>(x) })
                    },
                )
                .unwrap();
        },
    );
    let run = instance
        .get_typed_func::<(), (f64, i32, f64, i32)>(&mut store, "run")
        .unwrap();
    let results = block_on(run.call_async(&mut store, ())).unwrap();
    assert_eq!(results, (4.0, 1, 5.0, 6));
    assert_eq!(*store.data(), ["none", "1 2 3 4"]);
}

const SWAP: &str = r#"(module
    (import "host" "swap" (func $swap (param i32 i64) (result i64 i32)))
    (func (export "run") (param i32 i64) (result i64 i32)
        (call $swap (local.get 0) (local.get 1))))"#;

fn swap_type(engine: &Engine) -> FuncType {
    FuncType::new(
        engine,
        [ValType::I32, ValType::I64],
        [ValType::I64, ValType::I32],
    )
}

fn swap<'a>(
    mut caller: Caller<'a, i32>,
    params: &'a [Val],
    results: &'a mut [Val],
) -> Box<dyn Future<Output = Result<()>> + Send + 'a> {
    Box::new(async move {
        assert!(matches!(*results, [Val::I64(0), Val::I32(0)]));
        Wait::until(When::After(2)).await;
        *caller.data_mut() += 1;
        results[0] = params[1];
        results[1] = params[0];
        Ok(())
    })
}

#[test]
fn types_may_be_known_only_at_run_time() {
    let engine = Engine::default();
    let module = Module::new(&engine, SWAP).unwrap();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    linker
        .func_new_async("host", "swap", swap_type(&engine), swap)
        .unwrap();
    let func = Func::new_async(&mut store, swap_type(&engine), swap);
    let instances = [
        linker.instantiate(&mut store, &module).unwrap(),
        Instance::new(&mut store, &module, &[func.into()]).unwrap(),
    ];
    for instance in instances {
        let run = instance
            .get_typed_func::<(i32, i64), (i64, i32)>(&mut store, "run")
            .unwrap();
        assert_eq!(
            block_on(run.call_async(&mut store, (3, 4))).unwrap(),
            (4, 3)
        );
    }
    let mut results = [Val::I32(0), Val::I32(0)];
    let call = func.call_async(&mut store, &[Val::I32(1), Val::I64(2)], &mut results);
    block_on(call).unwrap();
    assert_eq!((results[0].unwrap_i64(), results[1].unwrap_i32()), (2, 1));
    assert_eq!(*store.data(), 3);
}

#[test]
fn a_result_of_a_wrong_type_is_an_error() {
    let engine = Engine::default();
    let module = Module::new(&engine, SWAP).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_new_async("host", "swap", swap_type(&engine), |_, params, results| {
            Box::new(async move {
                Wait::until(When::After(1)).await;
                results.copy_from_slice(params);
                Ok(())
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(i32, i64), (i64, i32)>(&mut store, "run")
        .unwrap();
    let error = block_on(run.call_async(&mut store, (3, 4))).unwrap_err();
    assert!(error.downcast_ref::<CallError>().is_some(), "{error:?}");
    assert_says(&error, &["wrong result 0", "i64"]);
}

#[derive(Debug, thiserror::Error)]
#[error("no luck today")]
struct NoLuck;

#[test]
fn errors_come_out_with_their_type_and_a_backtrace() {
    for when in [When::AtOnce, When::After(1), When::OtherThread] {
        let (mut store, instance) = linked::<()>(
            r#"(module (import "host" "fail" (func $fail)) (func $run (export "run") (call $fail)))"#,
            |linker| {
                linker
                    .func_wrap_async("host", "fail", move |_: Caller<'_, ()>, (): ()| {
                        Box::new(async move {
                            Wait::until(when).await;
                            Err::<(), _>(Error::new(NoLuck))
                        })
                    })
                    .unwrap();
            },
        );
        let error = block_on(run_async(&mut store, &instance, "run")).unwrap_err();
        assert!(error.downcast_ref::<NoLuck>().is_some(), "{error:?}");
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        assert_eq!(backtrace.frames()[0].func_name(), Some("run"));
    }
}

#[test]
fn exceptions_thrown_after_a_suspension_are_caught_by_the_guest() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = ExnType::new(&engine, [ValType::I32]).unwrap();
    let tag = Tag::new(&mut store, &ty.tag_type()).unwrap();
    let pre = ExnRefPre::new(&mut store, ty);
    let throw = Func::wrap_async(
        &mut store,
        move |mut caller: Caller<'_, ()>, (x,): (i32,)| {
            let pre = pre.clone();
            Box::new(async move {
                Wait::until(When::After(1)).await;
                let exception = ExnRef::new(&mut caller, &pre, &tag, &[Val::I32(x)])?;
                caller.throw::<()>(exception)
            })
        },
    );
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "tag" (tag $tag (param i32)))
            (import "" "throw" (func $throw (param i32)))
            (func (export "run") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (catch $tag $caught) (call $throw (local.get 0)))
                    (i32.const -1))))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[tag.into(), throw.into()]).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    assert_eq!(block_on(run.call_async(&mut store, 42)).unwrap(), 42);
}

#[test]
fn names_cannot_be_defined_twice() {
    let mut linker = Linker::<()>::new(&Engine::default());
    linker.func_wrap("host", "f", || {}).unwrap();
    let again = linker.func_wrap_async("host", "f", |_: Caller<'_, ()>, (): ()| {
        Box::new(std::future::ready(()))
    });
    assert_says(&again.unwrap_err(), &["\"f\"", "defined already"]);
}
