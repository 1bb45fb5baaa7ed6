//! Calls whose values travel in registers, and those just beyond what fits there: each value is another one, so that none may
//! be where another should be.

use crate::support::{assert_says, trap};
use cowling::*;

fn store(counts_fuel: bool) -> Store<u32> {
    let engine = Engine::new(Config::new().consume_fuel(counts_fuel)).unwrap();
    let mut store = Store::new(&engine, 0);
    if counts_fuel {
        store.set_fuel(1_000_000).unwrap();
    }
    store
}

/// A function of the same type as `host` that does nothing but to call it.
fn forwarder(store: &mut Store<u32>, host: Func) -> Func {
    let ty = host.ty(&*store);
    let signature = ty.to_string();
    let signature = signature
        .strip_prefix("(func")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap();
    let gets: String = (0..ty.params().len())
        .map(|i| format!("(local.get {i})"))
        .collect();
    let wat = format!(
        r#"(module (import "" "" (func $host {signature}))
            (func (export "forward") {signature} (call $host {gets})))"#
    );
    let module = Module::new(store.engine(), wat).unwrap();
    let instance = Instance::new(&mut *store, &module, &[host.into()]).unwrap();
    instance.get_func(store, "forward").unwrap()
}

/// Calls guest functions of these types, which call host functions of these types: from outside, and from a host function that was
/// called by a guest.
macro_rules! check {
    ($counts_fuel:expr; $(($($name:ident: $ty:ty = $value:expr),*) -> $Result:ty = $result:expr;)*) => {$({
        type Params = ($($ty,)*);
        let mut store = store($counts_fuel);
        let shape = concat!("(", stringify!($($ty),*), ") -> ", stringify!($Result));
        let host = Func::wrap(&mut store, move |$($name: $ty),*| -> $Result {
            $(assert_eq!($name, $value, "{shape}: {}", stringify!($name));)*
            $result
        });
        let forward = forwarder(&mut store, host);
        let forward = forward.typed::<Params, $Result>(&store).unwrap();
        let result = forward.call(&mut store, ($($value,)*)).unwrap();
        assert_eq!(result, $result, "{shape}");

        let nested = Func::wrap(&mut store, move |mut caller: Caller<'_, u32>, $($name: $ty),*| -> Result<$Result> {
            *caller.data_mut() += 1;
            forward.call(&mut caller, ($($name,)*))
        });
        let outside = forwarder(&mut store, nested).typed::<Params, $Result>(&store).unwrap();
        for calls in 1..3 {
            let result = outside.call(&mut store, ($($value,)*)).unwrap();
            assert_eq!(result, $result, "{shape}, nested");
            assert_eq!(*store.data(), calls, "{shape}");
        }
    })*};
}

fn every_shape(counts_fuel: bool) {
    check! { counts_fuel;
        () -> () = ();
        () -> i32 = -1;
        () -> u64 = u64::MAX - 1;
        () -> f32 = 0.5;
        () -> f64 = -0.25;
        () -> u128 = 1 << 100 | 7;
        (a: i32 = -2) -> () = ();
        (a: f32 = 1.5) -> f32 = 2.5;
        (a: u128 = 3 << 90) -> u128 = 5 << 80 | 1;
        (a: u128 = 3 << 90, b: i64 = -4) -> i64 = 77;
        (a: i32 = 1, b: i64 = -2, c: f32 = 3.5, d: f64 = -4.5) -> f64 = 0.125;
        (a: i64 = 1, b: i64 = 2, c: i64 = 3, d: i64 = 4, e: i64 = 5) -> i64 = 6;
        (a: i32 = 1, b: i32 = 2, c: i32 = 3, d: i32 = 4, e: i32 = 5, f: i32 = 6) -> i32 = 7;
        (a: f64 = 1.0, b: f32 = 2.0, c: f64 = 3.0, d: f32 = 4.0, e: f64 = 5.0, f: f32 = 6.0, g: f64 = 7.0, h: f32 = 8.0) -> f32 = 9.0;
        (a: f64 = 1.0, b: f32 = 2.0, c: f64 = 3.0, d: f32 = 4.0, e: f64 = 5.0, f: f32 = 6.0, g: f64 = 7.0, h: f32 = 8.0, i: f64 = 9.0) -> f64 = 10.0;
        (a: i32 = 1, b: f64 = 2.0, c: i64 = 3, d: f32 = 4.0, e: u32 = 5, f: u128 = 6, g: u64 = 7, h: f64 = 8.0, i: i32 = 9, j: f32 = 10.0, k: f64 = 11.0, l: f64 = 12.0, m: f64 = 13.0) -> u32 = 14;
        (a: i32 = 1, b: f64 = 2.0, c: i64 = 3, d: f32 = 4.0, e: u32 = 5, f: u128 = 6, g: u64 = 7, h: f64 = 8.0, i: i32 = 9, j: i32 = 10) -> u32 = 14;
        (a: i64 = 1) -> (i64, i64) = (2, 3);
        (a: i64 = 1) -> (f64, i32) = (2.0, 3);
        (a: f64 = 1.0) -> (f32, f32) = (2.0, 3.0);
        () -> (i32, i64, f32, f64, u128, i32, i64) = (1, 2, 3.0, 4.0, 5, 6, 7);
    }
}

#[test]
fn values_in_registers_and_beyond_arrive_where_they_belong() {
    every_shape(false);
}

#[test]
fn values_in_registers_and_beyond_arrive_where_they_belong_when_fuel_is_counted() {
    every_shape(true);
}

#[test]
fn references_travel_in_registers_too() {
    for counts_fuel in [false, true] {
        let mut store = store(counts_fuel);
        let host = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, u32>,
             number: i32,
             func: Option<Func>,
             value: Option<Rooted<ExternRef>>|
             -> Result<Option<Rooted<ExternRef>>> {
                let func = func.unwrap().typed::<i32, i32>(&caller)?;
                let found = value.unwrap().data(&caller)?.unwrap();
                let found = *found.downcast_ref::<i32>().unwrap();
                let sum = func.call(&mut caller, number)? + found;
                Ok(Some(ExternRef::new(&mut caller, sum)?))
            },
        );
        type Params = (i32, Option<Func>, Option<Rooted<ExternRef>>);
        type Results = Option<Rooted<ExternRef>>;
        let forward = forwarder(&mut store, host);
        let forward = forward.typed::<Params, Results>(&store).unwrap();
        let twice = Func::wrap(&mut store, |x: i32| 2 * x);
        let twice = forwarder(&mut store, twice);
        let five = ExternRef::new(&mut store, 5).unwrap();
        let result = forward.call(&mut store, (10, Some(twice), Some(five)));
        let result = result.unwrap().unwrap();
        let result = result.data(&store).unwrap().unwrap();
        assert_eq!(result.downcast_ref(), Some(&25));
    }
}

#[test]
fn what_a_guest_has_in_registers_survives_a_host_call() {
    for counts_fuel in [false, true] {
        let mut store = store(counts_fuel);
        let host = Func::wrap(&mut store, |x: i64| {
            // Enough at once to use every register.
            let mut all = [x; 24];
            for round in 0..x {
                for (i, one) in all.iter_mut().enumerate() {
                    *one = one.wrapping_mul(round + i as i64) ^ 0x55;
                }
            }
            all.iter().fold(0_i64, |sum, one| sum.wrapping_add(*one))
        });
        let locals = 1..20;
        let sets: String = locals
            .clone()
            .map(|i| format!("(local.set {i} (i64.mul (local.get 0) (i64.const {i})))"))
            .collect();
        let adds: String = locals
            .clone()
            .map(|i| format!("(local.get {i}) i64.add"))
            .collect();
        let wat = format!(
            r#"(module (import "" "" (func $host (param i64) (result i64)))
                (func (export "run") (param i64) (result i64) (local {})
                    {sets} (drop (call $host (local.get 0))) (i64.const 0) {adds}))"#,
            "i64 ".repeat(locals.len())
        );
        let module = Module::new(store.engine(), wat).unwrap();
        let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
        let run = instance.get_typed_func::<i64, i64>(&mut store, "run");
        assert_eq!(run.unwrap().call(&mut store, 100).unwrap(), 100 * 190);
    }
}

#[test]
fn a_host_function_may_change_the_fuel_of_its_caller() {
    let mut store = store(true);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, u32>, fuel: i64| {
        caller.set_fuel(fuel as u64)
    });
    let forward = forwarder(&mut store, host);
    let forward = forward.typed::<i64, ()>(&store).unwrap();
    forward.call(&mut store, 5_000).unwrap();
    let left = store.get_fuel().unwrap();
    assert!((4_000..=5_000).contains(&left), "{left}");
}

#[test]
fn functions_in_registers_fail_like_others() {
    for counts_fuel in [false, true] {
        let mut store = store(counts_fuel);
        let host = Func::wrap(&mut store, |x: i32| -> Result<i32> {
            ensure!(x != 1, "one");
            assert_ne!(x, 2, "two");
            Ok(x)
        });
        let forward = forwarder(&mut store, host);
        let forward = forward.typed::<i32, i32>(&store).unwrap();
        for _ in 0..2 {
            let error = forward.call(&mut store, 1).unwrap_err();
            assert_says(&error, &["one"]);
            let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
            assert_eq!(backtrace.frames().len(), 1);
            let call = std::panic::AssertUnwindSafe(|| forward.call(&mut store, 2));
            let payload = std::panic::catch_unwind(call).unwrap_err();
            let message = payload.downcast_ref::<String>().unwrap();
            assert!(message.contains("two"), "{message}");
            assert_eq!(forward.call(&mut store, 3).unwrap(), 3);
        }
    }
}

#[test]
fn a_host_function_in_registers_is_promised_its_stack() {
    for counts_fuel in [false, true] {
        let mut store = store(counts_fuel);
        let host = Func::wrap(&mut store, |mut caller: Caller<'_, u32>| {
            *caller.data_mut() += 1;
        });
        // Calls the host on each level until there is not enough stack left for it, which is before there is none for guests.
        let wat = r#"(module (import "" "" (func $host)) (func $run (export "run") (call $host) (call $run)))"#;
        let module = Module::new(store.engine(), wat).unwrap();
        let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        if counts_fuel {
            store.set_fuel(u64::MAX).unwrap();
        }
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(trap(&error), Trap::StackOverflow);
        let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
        assert!(frames.len() > 10 && frames.iter().all(|frame| frame.func_index() == 1));
        assert!(*store.data() > 1_000);
    }
}
