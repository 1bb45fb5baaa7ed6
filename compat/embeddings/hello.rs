//! The first program everyone writes: one host function, one exported function, a counter in the store.

use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "host" "hello" (func $hello (param i32)))
  (func (export "run") (param $times i32) (result i32)
    (local $i i32)
    (loop $again
      (call $hello (local.get $i))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (local.get $times))))
    (local.get $i)))
"#;

struct State {
    name: String,
    calls: u32,
}

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(
        &engine,
        State {
            name: "world".to_string(),
            calls: 0,
        },
    );

    // Made by hand, without a linker: imports are given in the order in which the module names them.
    let hello = Func::wrap(&mut store, |mut caller: Caller<'_, State>, nth: i32| {
        caller.data_mut().calls += 1;
        println!("hello, {} ({nth})", caller.data().name);
    });
    let instance = Instance::new(&mut store, &module, &[hello.into()])?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
    println!("run: {}", run.call(&mut store, 3)?);

    // The same with a linker.
    store.data_mut().name = "linker".to_string();
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "hello",
        |mut caller: Caller<'_, State>, nth: i32| -> Result<()> {
            ensure!(nth < 2, "that is enough");
            caller.data_mut().calls += 1;
            println!("hello, {} ({nth})", caller.data().name);
            Ok(())
        },
    )?;
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
    println!("run: {}", run.call(&mut store, 2)?);
    let error = run.call(&mut store, 5).unwrap_err();
    println!("run: {}", error.root_cause());

    println!("calls: {}", store.data().calls);
    println!("data: {}", store.into_data().name);
    Ok(())
}
