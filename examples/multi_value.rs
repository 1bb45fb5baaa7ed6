//! Functions with several results, called with types and without.
//!
//! ```sh
//! cargo run --example multi_value
//! ```

use cowling::{Engine, Func, FuncType, Linker, Module, Result, Store, Val, ValType};

// ANCHOR: guest
/// Divides with the rest, and turns a point with the host's help.
const GUEST: &str = r#"(module
    (import "host" "sin_cos" (func $sin_cos (param f64) (result f64 f64)))
    (func (export "divide") (param i64 i64) (result i64 i64)
        (i64.div_s (local.get 0) (local.get 1))
        (i64.rem_s (local.get 0) (local.get 1)))
    (func (export "turn") (param $x f64) (param $y f64) (param $angle f64) (result f64 f64)
        (local $sin f64) (local $cos f64)
        (call $sin_cos (local.get $angle))
        (local.set $cos)
        (local.set $sin)
        (f64.sub (f64.mul (local.get $x) (local.get $cos)) (f64.mul (local.get $y) (local.get $sin)))
        (f64.add (f64.mul (local.get $x) (local.get $sin)) (f64.mul (local.get $y) (local.get $cos)))))"#;
// ANCHOR_END: guest

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());

    // ANCHOR: host
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "sin_cos", |angle: f64| angle.sin_cos())?;
    // ANCHOR_END: host
    let instance = linker.instantiate(&mut store, &module)?;

    // ANCHOR: typed
    let divide = instance.get_typed_func::<(i64, i64), (i64, i64)>(&mut store, "divide")?;
    let (quotient, rest) = divide.call(&mut store, (100, 7))?;
    println!("100 / 7 = {quotient}, rest {rest}");

    let turn = instance.get_typed_func::<(f64, f64, f64), (f64, f64)>(&mut store, "turn")?;
    let (x, y) = turn.call(&mut store, (3.0, 4.0, std::f64::consts::FRAC_PI_2))?;
    println!("(3, 4) turned by a right angle: ({x:.0}, {y:.0})");
    // ANCHOR_END: typed

    // ANCHOR: dynamic
    let divide = instance
        .get_func(&mut store, "divide")
        .expect("it is exported");
    let mut results = vec![Val::I64(0); divide.ty(&store).results().len()];
    divide.call(&mut store, &[Val::I64(-100), Val::I64(7)], &mut results)?;
    println!("-100 / 7: {results:?}");
    // ANCHOR_END: dynamic

    // ANCHOR: func_new
    let ty = FuncType::new(&engine, vec![ValType::I32; 3], vec![ValType::I32; 3]);
    let reverse = Func::new(&mut store, ty, |_, params, results| {
        results.copy_from_slice(params);
        results.reverse();
        Ok(())
    });
    let reverse = reverse.typed::<(i32, i32, i32), (i32, i32, i32)>(&store)?;
    println!("reversed: {:?}", reverse.call(&mut store, (1, 2, 3))?);
    // ANCHOR_END: func_new

    // ANCHOR: wrong
    let error = instance
        .get_typed_func::<(i64, i64), i64>(&mut store, "divide")
        .map(drop)
        .unwrap_err();
    println!("asked for one result: {error:#}");
    let error = divide
        .call(&mut store, &[Val::I32(1)], &mut results)
        .unwrap_err();
    println!("called with one parameter: {error:#}");
    // ANCHOR_END: wrong
    Ok(())
}
