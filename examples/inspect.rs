//! A module that nothing is known of: what it imports and exports, and a call with what the types say.
//!
//! ```sh
//! cargo run --example inspect                                   # a module of its own
//! cargo run --example inspect -- FILE FUNCTION [ARGUMENTS...]   # yours
//! ```

use cowling::{Context, Engine, ExternType, Linker, Module, Result, Store, Val, ValType, bail};

const GUEST: &str = r#"(module
    (import "host" "log" (func (param i32 f64)))
    (memory (export "memory") 1 2)
    (global (export "version") i32 (i32.const 3))
    (func (export "power") (param $x f64) (param $n i32) (result f64)
        (local $result f64)
        (local.set $result (f64.const 1))
        (loop $next
            (if (local.get $n) (then
                (local.set $result (f64.mul (local.get $result) (local.get $x)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br $next))))
        (local.get $result)))"#;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let engine = Engine::default();
    let (module, name, arguments) = match &arguments[..] {
        [] => (
            Module::new(&engine, GUEST)?,
            "power",
            vec!["1.5".to_string(), "3".to_string()],
        ),
        [file, name, arguments @ ..] => (
            Module::from_file(&engine, file)?,
            name.as_str(),
            arguments.to_vec(),
        ),
        _ => bail!("usage: inspect [FILE FUNCTION [ARGUMENTS...]]"),
    };

    // ANCHOR: list
    for import in module.imports() {
        println!(
            "imports {}.{}: {}",
            import.module(),
            import.name(),
            import.ty()
        );
    }
    for export in module.exports() {
        println!("exports {}: {}", export.name(), export.ty());
    }
    // ANCHOR_END: list

    // ANCHOR: link
    let mut linker = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&module)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    // ANCHOR_END: link

    // ANCHOR: call
    let Some(ExternType::Func(ty)) = module.get_export(name) else {
        bail!("there is no function {name:?}");
    };
    if ty.params().len() != arguments.len() {
        bail!(
            "{name} is {ty}, and there are {} arguments",
            arguments.len()
        );
    }
    let params: Vec<Val> = ty
        .params()
        .zip(&arguments)
        .map(|(ty, text)| parse(&ty, text).with_context(|| format!("argument {text:?}")))
        .collect::<Result<_>>()?;
    let mut results: Vec<Val> = ty.results().filter_map(|ty| ty.default_value()).collect();
    let function = instance
        .get_func(&mut store, name)
        .context("an export of the module")?;
    function.call(&mut store, &params, &mut results)?;
    let results: Vec<String> = results.iter().map(Val::to_string).collect();
    println!("{name}({}) = {}", arguments.join(", "), results.join(", "));
    // ANCHOR_END: call
    Ok(())
}

// ANCHOR: parse
/// What a text means as a value of a type.
fn parse(ty: &ValType, text: &str) -> Result<Val> {
    Ok(match ty {
        ValType::I32 => Val::I32(text.parse()?),
        ValType::I64 => Val::I64(text.parse()?),
        ValType::F32 => Val::from(text.parse::<f32>()?),
        ValType::F64 => Val::from(text.parse::<f64>()?),
        other => bail!("a value of type {other} cannot be written here"),
    })
}
// ANCHOR_END: parse
