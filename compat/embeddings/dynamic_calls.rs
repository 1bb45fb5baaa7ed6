//! A small shell: calls any export with arguments from text, without knowing types at compile time.

use wasmtime::error::Context as _;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "mul64") (param i64 i64) (result i64) (i64.mul (local.get 0) (local.get 1)))
  (func (export "hypot") (param f64 f64) (result f64)
    (f64.sqrt (f64.add
      (f64.mul (local.get 0) (local.get 0))
      (f64.mul (local.get 1) (local.get 1)))))
  (func (export "half") (param f32) (result f32) (f32.mul (local.get 0) (f32.const 0.5)))
  (func (export "swap") (param i32 f32) (result f32 i32) (local.get 1) (local.get 0))
  (func (export "lanes") (param i32) (result v128) (i32x4.splat (local.get 0)))
  (func (export "nothing"))
  (global (export "answer") i32 (i32.const 42))
  (memory (export "memory") 1))
"#;

fn parse(word: &str, ty: &ValType) -> Result<Val> {
    Ok(match ty {
        ValType::I32 => Val::I32(word.parse()?),
        ValType::I64 => Val::I64(word.parse()?),
        ValType::F32 => Val::from(word.parse::<f32>()?),
        ValType::F64 => Val::from(word.parse::<f64>()?),
        other => bail!("cannot read a value of type {other}"),
    })
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(x) => format!("{x}:i32"),
        Val::I64(x) => format!("{x}:i64"),
        Val::F32(_) => format!("{}:f32", value.unwrap_f32()),
        Val::F64(_) => format!("{}:f64", value.unwrap_f64()),
        Val::V128(x) => format!("{:032x}:v128", x.as_u128()),
        _ => "a reference".to_string(),
    }
}

fn execute(store: &mut Store<()>, instance: &Instance, line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let name = words.next().context("an empty line")?;
    let export = instance
        .get_export(&mut *store, name)
        .with_context(|| format!("no export {name:?}"))?;
    let func = export
        .into_func()
        .with_context(|| format!("{name:?} is no function"))?;
    let ty = func.ty(&*store);
    let params = ty
        .params()
        .zip(words)
        .map(|(ty, word)| parse(word, &ty).with_context(|| format!("argument {word:?}")))
        .collect::<Result<Vec<Val>>>()?;
    let mut results: Vec<Val> = ty
        .results()
        .map(|ty| Val::default_for_ty(&ty).unwrap_or(Val::I32(0)))
        .collect();
    func.call(&mut *store, &params, &mut results)?;
    Ok(results.iter().map(show).collect::<Vec<_>>().join(" "))
}

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;

    for line in [
        "add 1 2",
        "add 2147483647 1",
        "mul64 -4294967296 4294967297",
        "hypot 3 4",
        "half -0.25",
        "swap 1 2.5",
        "lanes 255",
        "nothing",
    ] {
        println!("{line} = {}", execute(&mut store, &instance, line)?);
    }

    // Whoever types nonsense learns how far it got.
    for line in ["add one 2", "fly", "memory", "answer", ""] {
        let error = execute(&mut store, &instance, line).unwrap_err();
        println!("{line:?}: {error}, {} causes", error.chain().count());
    }

    // Wrong numbers and types of arguments are errors, not crashes.
    let add = instance.get_func(&mut store, "add").unwrap();
    let mut one = [Val::I32(0)];
    println!(
        "too few: {}",
        add.call(&mut store, &[Val::I32(1)], &mut one).is_err()
    );
    println!(
        "wrong type: {}",
        add.call(&mut store, &[Val::I32(1), Val::I64(1)], &mut one)
            .is_err()
    );
    println!(
        "no results: {}",
        add.call(&mut store, &[Val::I32(1), Val::I32(1)], &mut [])
            .is_err()
    );
    println!(
        "typed wrongly: {}",
        add.typed::<(i32, f32), i32>(&store).is_err()
    );
    println!(
        "typed: {}",
        add.typed::<(u32, u32), u32>(&store)?
            .call(&mut store, (u32::MAX, 3))?
    );
    Ok(())
}
