//! Call-backs through tables and function references, and globals that both sides change.

use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "env" "table" (table $handlers 4 16 funcref))
  (import "env" "depth" (global $depth (mut i32)))
  (import "env" "scale" (global $scale f64))
  (type $handler (func (param i32) (result i32)))
  (table $own (export "own") 2 8 funcref)
  (elem (table $own) (i32.const 0) func $double $square)
  (global $log (export "log") (mut i64) (i64.const 0))

  (func $double (type $handler) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (type $handler) (i32.mul (local.get 0) (local.get 0)))

  (func (export "dispatch") (param $which i32) (param $x i32) (result i32)
    (local $result i32)
    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
    (local.set $result
      (call_indirect $handlers (type $handler) (local.get $x) (local.get $which)))
    (global.set $log
      (i64.add (i64.mul (global.get $log) (i64.const 10)) (i64.extend_i32_u (local.get $which))))
    (global.set $depth (i32.sub (global.get $depth) (i32.const 1)))
    (local.get $result))

  (func (export "register") (param $at i32) (param $handler funcref)
    (table.set $handlers (local.get $at) (local.get $handler)))
  (func (export "pick") (param $at i32) (result funcref) (table.get $own (local.get $at)))
  (func (export "scaled") (param f64) (result f64) (f64.mul (local.get 0) (global.get $scale))))
"#;

pub fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, 0u32);

    let table = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 4, Some(16)),
        Ref::Func(None),
    )?;
    let depth = Global::new(
        &mut store,
        GlobalType::new(ValType::I32, Mutability::Var),
        Val::I32(0),
    )?;
    let scale = Global::new(
        &mut store,
        GlobalType::new(ValType::F64, Mutability::Const),
        2.5f64.into(),
    )?;

    let mut linker = Linker::new(&engine);
    linker.define(&store, "env", "table", table)?;
    linker.define(&store, "env", "depth", depth)?;
    linker.define(&store, "env", "scale", scale)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let dispatch = instance.get_typed_func::<(u32, i32), i32>(&mut store, "dispatch")?;
    let register = instance.get_typed_func::<(u32, Option<Func>), ()>(&mut store, "register")?;
    let pick = instance.get_typed_func::<u32, Option<Func>>(&mut store, "pick")?;

    // The host's functions, the guest's own, and one that calls back into the guest.
    let offset = Func::wrap(&mut store, |mut caller: Caller<'_, u32>, x: i32| {
        *caller.data_mut() += 1;
        x + 1000
    });
    table.set(&mut store, 0, Ref::Func(Some(offset)))?;
    let double = pick.call(&mut store, 0)?;
    register.call(&mut store, (1, double))?;
    let square = pick.call(&mut store, 1)?;
    register.call(&mut store, (2, square))?;
    let again = Func::wrap(&mut store, move |mut caller: Caller<'_, u32>, x: i32| {
        let at = depth.get(&mut caller).unwrap_i32();
        if at < 5 {
            dispatch.call(&mut caller, (3, x + at))
        } else {
            Ok(x)
        }
    });
    table.set(&mut store, 3, again.into())?;

    let dispatch = instance.get_typed_func::<(u32, i32), i32>(&mut store, "dispatch")?;
    for which in 0..4 {
        println!(
            "handler {which}: {}",
            dispatch.call(&mut store, (which, 7))?
        );
    }
    println!(
        "depth {}, host called {} times",
        depth.get(&mut store).unwrap_i32(),
        store.data()
    );
    let log = instance.get_global(&mut store, "log").unwrap();
    println!("log {}", log.get(&mut store).unwrap_i64());
    log.set(&mut store, Val::I64(1))?;

    // Empty, absent and wrongly typed elements.
    println!("grown at {}", table.grow(&mut store, 2, Ref::Func(None))?);
    let kind = |error: Error| error.downcast::<Trap>().map_err(|_| "not a trap");
    println!("{:?}", dispatch.call(&mut store, (4, 7)).map_err(kind));
    println!("{:?}", dispatch.call(&mut store, (99, 7)).map_err(kind));
    let wrong = Func::wrap(&mut store, |_: i64| {});
    table.set(&mut store, 5, Ref::from(wrong))?;
    println!("{:?}", dispatch.call(&mut store, (5, 7)).map_err(kind));
    println!("log {}", log.get(&mut store).unwrap_i64());

    println!("get beyond: {}", table.get(&mut store, 6).is_none());
    println!(
        "set beyond: {}",
        table.set(&mut store, 6, Ref::Func(None)).is_err()
    );
    println!(
        "grow beyond: {}",
        table.grow(&mut store, 100, Ref::Func(None)).is_err()
    );
    println!("constant: {}", scale.set(&mut store, Val::F64(0)).is_err());
    println!(
        "other type: {}",
        depth.set(&mut store, Val::I64(0)).is_err()
    );

    let own = instance.get_table(&mut store, "own").unwrap();
    Table::copy(&mut store, &table, 4, &own, 0, 2)?;
    println!("copied: {}", dispatch.call(&mut store, (5, 12))?);
    table.fill(&mut store, 0, Ref::Func(None), 6)?;
    let left = (0..table.size(&store))
        .filter(|&i| !table.get(&mut store, i).unwrap().is_null())
        .count();
    println!("{left} of {} left", table.size(&store));
    let scaled = instance.get_typed_func::<f64, f64>(&mut store, "scaled")?;
    println!("{}", scaled.call(&mut store, 3.0)?);
    Ok(())
}
