//! Exceptions: thrown by guests and caught by the host, thrown by the host and caught by guests.

use wasmtime::error::Context as _;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "host" "error" (tag $error (param i32 i64)))
  (import "host" "check" (func $check (param i32)))
  (tag $own (export "own") (param f32))

  (func (export "throw") (param i32)
    (throw $error (local.get 0) (i64.const -1)))
  (func (export "throw own") (throw $own (f32.const 1.5)))

  ;; Calls the host, catches what it throws and returns the code, or 0.
  (func (export "try") (param i32) (result i32)
    (block $caught (result i32 i64)
      (try_table (catch $error $caught)
        (call $check (local.get 0)))
      (return (i32.const 0)))
    (drop))

  ;; Catches everything and throws it again.
  (func (export "pass on") (param i32)
    (block $caught (result exnref)
      (try_table (catch_all_ref $caught)
        (call $check (local.get 0)))
      (return))
    (throw_ref)))
"#;

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.wasm_exceptions(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());

    let payload = FuncType::new(&engine, [ValType::I32, ValType::I64], []);
    let tag = Tag::new(&mut store, &TagType::new(payload))?;
    let exception_type = ExnType::from_tag_type(&tag.ty(&store))?;
    println!("fields: {}", exception_type.fields().len());

    let mut linker = Linker::new(&engine);
    linker.define(&store, "host", "error", tag)?;
    let pre = ExnRefPre::new(&mut store, exception_type);
    linker.func_wrap(
        "host",
        "check",
        move |mut caller: Caller<'_, ()>, code: i32| -> Result<()> {
            match code {
                0 => Ok(()),
                1..100 => {
                    let fields = [Val::I32(code), Val::I64(i64::from(code) << 40)];
                    let exception = ExnRef::new(&mut caller, &pre, &tag, &fields)?;
                    caller.as_context_mut().throw(exception)
                }
                _ => bail!("no exception but an error: {code}"),
            }
        },
    )?;
    let instance = linker.instantiate(&mut store, &module)?;

    // From the guest to the host.
    let throw = instance.get_typed_func::<i32, ()>(&mut store, "throw")?;
    let error = throw.call(&mut store, 7).unwrap_err();
    println!("thrown: {}", error.is::<ThrownException>());
    println!("pending: {}", store.has_pending_exception());
    let exception = store.take_pending_exception().context("no exception")?;
    println!(
        "its tag: {}",
        Tag::eq(&exception.tag(&mut store)?, &tag, &store)
    );
    let fields: Vec<Val> = exception.fields(&mut store)?.collect();
    println!("{} {}", fields[0].unwrap_i32(), fields[1].unwrap_i64());
    println!("field: {}", exception.field(&mut store, 1)?.unwrap_i64());
    println!("beyond: {}", exception.field(&mut store, 2).is_err());
    println!("pending: {}", store.has_pending_exception());

    // With a tag of the guest's.
    let own = instance.get_tag(&mut store, "own").unwrap();
    let error = instance
        .get_typed_func::<(), ()>(&mut store, "throw own")?
        .call(&mut store, ())
        .unwrap_err();
    println!("thrown: {}", error.is::<ThrownException>());
    let exception = store.take_pending_exception().unwrap();
    println!(
        "own: {}",
        Tag::eq(&exception.tag(&mut store)?, &own, &store)
    );
    println!(
        "other: {}",
        Tag::eq(&exception.tag(&mut store)?, &tag, &store)
    );
    println!("{}", exception.field(&mut store, 0)?.unwrap_f32());

    // From the host to the guest.
    let attempt = instance.get_typed_func::<i32, i32>(&mut store, "try")?;
    for code in [0, 1, 42] {
        println!("try {code}: {}", attempt.call(&mut store, code)?);
    }
    let error = attempt.call(&mut store, 1000).unwrap_err();
    println!(
        "error: {} {}",
        error.root_cause(),
        error.is::<ThrownException>()
    );
    println!("pending: {}", store.has_pending_exception());

    // Through the guest.
    let pass_on = instance.get_typed_func::<i32, ()>(&mut store, "pass on")?;
    pass_on.call(&mut store, 0)?;
    let error = pass_on.call(&mut store, 5).unwrap_err();
    println!("passed on: {}", error.is::<ThrownException>());
    let exception = store.take_pending_exception().unwrap();
    println!("{}", exception.field(&mut store, 0)?.unwrap_i32());
    Ok(())
}
