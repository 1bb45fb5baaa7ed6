//! Several results, in both directions, typed and untyped.

use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "" "divmod" (func $divmod (param i64 i64) (result i64 i64)))
  (import "" "split" (func $split (param f64) (result i32 i64 f32 f64)))

  (func (export "divmod") (param i64 i64) (result i64 i64)
    (call $divmod (local.get 0) (local.get 1)))

  (func (export "reverse") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
    (local.get 3) (local.get 2) (local.get 1) (local.get 0))

  (func (export "split") (param f64) (result f64 f32 i64 i32)
    (local $a i32) (local $b i64) (local $c f32) (local $d f64)
    (call $split (local.get 0))
    (local.set $d) (local.set $c) (local.set $b) (local.set $a)
    (local.get $d) (local.get $c) (local.get $b) (local.get $a))

  (func (export "gcd") (param i64 i64) (result i64)
    (local.get 0) (local.get 1)
    (loop $again (param i64 i64) (result i64)
      (local.set 1) (local.set 0)
      (if (result i64) (i64.eqz (local.get 1))
        (then (local.get 0))
        (else
          (local.get 1)
          (call $divmod (local.get 0) (local.get 1))
          (local.set 0) (drop) (local.get 0)
          (br $again))))))
"#;

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());

    let divmod = Func::wrap(&mut store, |a: i64, b: i64| -> Result<(i64, i64)> {
        match (a.checked_div(b), a.checked_rem(b)) {
            (Some(quotient), Some(remainder)) => Ok((quotient, remainder)),
            _ => Err(Trap::IntegerDivisionByZero.into()),
        }
    });
    let split = Func::new(
        &mut store,
        FuncType::new(
            &engine,
            [ValType::F64],
            [ValType::I32, ValType::I64, ValType::F32, ValType::F64],
        ),
        |_, params, results| {
            let x = params[0].unwrap_f64();
            results[0] = Val::I32(x as i32);
            results[1] = (x as i64 * 1_000_000_007).into();
            results[2] = Val::F32((x as f32).to_bits());
            results[3] = x.fract().into();
            Ok(())
        },
    );
    let instance = Instance::new(&mut store, &module, &[divmod.into(), split.into()])?;

    let divmod = instance.get_typed_func::<(i64, i64), (i64, i64)>(&mut store, "divmod")?;
    println!(
        "{:?}",
        divmod.call(&mut store, (1_000_000_000_007, 10_007))?
    );
    let error = divmod.call(&mut store, (1, 0)).unwrap_err();
    println!("{:?}", error.downcast::<Trap>()?);

    let reverse = instance
        .get_typed_func::<(i32, i64, f32, f64), (f64, f32, i64, i32)>(&mut store, "reverse")?;
    println!("{:?}", reverse.call(&mut store, (1, -2, 3.5, -4.25))?);

    let split = instance.get_func(&mut store, "split").unwrap();
    let mut results = vec![Val::I32(0); split.ty(&store).results().len()];
    split.call(&mut store, &[Val::from(1234.5f64)], &mut results)?;
    for value in &results {
        match value {
            Val::I32(x) => println!("i32 {x}"),
            Val::I64(x) => println!("i64 {x}"),
            Val::F32(bits) => println!("f32 {}", f32::from_bits(*bits)),
            Val::F64(bits) => println!("f64 {}", f64::from_bits(*bits)),
            other => println!("{other:?}"),
        }
    }

    let gcd = instance.get_typed_func::<(u64, u64), u64>(&mut store, "gcd")?;
    println!(
        "{}",
        gcd.call(&mut store, (2 * 3 * 5 * 7 * 11, 3 * 7 * 13))?
    );
    Ok(())
}
