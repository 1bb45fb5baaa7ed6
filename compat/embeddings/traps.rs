//! What went wrong, and where: kinds of traps, backtraces with lines of the source, errors of host functions with their causes.

use std::fmt;
use wasmtime::error::Context as _;
use wasmtime::*;

const GUEST: &str = r#"(module $faulty
  (import "host" "check" (func $check (param i32) (result i32)))
  (memory 1)
  (table 2 funcref)
  (type $nothing (func))
  (func $unreachable unreachable)
  (func $divide (drop (i32.div_s (i32.const 1) (i32.const 0))))
  (func $overflow (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
  (func $convert (drop (i32.trunc_f32_s (f32.const nan))))
  (func $memory (drop (i32.load (i32.const 65533))))
  (func $table (call_indirect (type $nothing) (i32.const 2)))
  (func $null (call_indirect (type $nothing) (i32.const 1)))
  (func $recursion (call $recursion) (call $recursion))
  (func (export "run") (param $which i32)
    (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 (local.get $which)))
      (return (call $unreachable)))
      (return (call $divide)))
      (return (call $overflow)))
      (return (call $convert)))
      (return (call $memory)))
      (return (call $table)))
      (return (call $null)))
      (return (call $recursion))))
  (func $inner (export "inner") (param i32) (result i32)
    (i32.div_u
      (i32.const 100)
      (call $check (local.get 0))))
  (func (export "outer") (param i32) (result i32)
    (call $inner
      (local.get 0)))
)"#;

#[derive(Debug)]
struct Forbidden(i32);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is forbidden", self.0)
    }
}

impl std::error::Error for Forbidden {}

fn show(frames: &[FrameInfo]) {
    for frame in frames {
        let place = frame.symbols().first().map(|symbol| {
            let file = symbol.file().unwrap_or("?");
            let file = file.rsplit('/').next().unwrap_or(file);
            format!("{file}:{}", symbol.line().unwrap_or(0))
        });
        println!(
            "  #{} {} of {} at {:?}",
            frame.func_index(),
            frame.func_name().unwrap_or("?"),
            frame.module().name().unwrap_or("?"),
            place,
        );
    }
}

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    let engine = Engine::new(&config)?;
    let binary = wat::Parser::new()
        .generate_dwarf(wat::GenerateDwarf::Lines)
        .parse_str(Some("faulty.wat".as_ref()), GUEST)?;
    let module = Module::new(&engine, binary)?;

    let mut linker = Linker::<Option<WasmBacktrace>>::new(&engine);
    linker.func_wrap(
        "host",
        "check",
        |mut caller: Caller<'_, Option<WasmBacktrace>>, number: i32| -> Result<i32> {
            match number {
                7 => {
                    let backtrace = WasmBacktrace::capture(&caller);
                    *caller.data_mut() = Some(backtrace);
                    Ok(7)
                }
                13 => Err(Error::from(Forbidden(number)).context("when asked")),
                14 => Err(std::io::Error::from(std::io::ErrorKind::NotFound))
                    .context("looking for it"),
                _ => Ok(number),
            }
        },
    )?;
    let mut store = Store::new(&engine, None);
    let instance = linker.instantiate(&mut store, &module)?;

    // All kinds.
    let run = instance.get_typed_func::<i32, ()>(&mut store, "run")?;
    for which in 0..9 {
        let Err(error) = run.call(&mut store, which) else {
            println!("{which}: fine");
            continue;
        };
        let trap = error.downcast_ref::<Trap>().context("not a trap")?;
        println!("{which}: {trap:?}");
        let backtrace = error
            .downcast_ref::<WasmBacktrace>()
            .context("no backtrace")?;
        match trap {
            Trap::StackOverflow => println!("  deep: {}", backtrace.frames().len() > 1),
            _ => show(backtrace.frames()),
        }
    }

    // Where a trap happens behind calls, and where a host function is called.
    let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer")?;
    let error = outer.call(&mut store, 0).unwrap_err();
    println!("{:?}", error.downcast_ref::<Trap>());
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    show(frames);
    let body = frames[0].module_offset().unwrap() - frames[0].func_offset().unwrap();
    println!(
        "offsets: {}",
        body > 0 && frames[0].module_offset() < frames[1].module_offset()
    );
    println!("captured: {}", outer.call(&mut store, 7)?);
    show(store.data_mut().take().unwrap().frames());

    // Errors of host functions come out as they went in.
    let error = outer.call(&mut store, 13).unwrap_err();
    println!(
        "{:?} {}",
        error.downcast_ref::<Forbidden>(),
        error.is::<Trap>()
    );
    println!("{}", error.root_cause());
    show(error.downcast_ref::<WasmBacktrace>().unwrap().frames());
    println!("{}", error.downcast::<Forbidden>().unwrap().0);
    let error = outer
        .call(&mut store, 14)
        .context("calling outer")
        .unwrap_err();
    println!("{error}");
    println!(
        "{:?}",
        error
            .downcast_ref::<std::io::Error>()
            .map(|error| error.kind())
    );
    println!(
        "{}",
        error
            .chain()
            .any(|cause| cause.to_string() == "looking for it")
    );

    // A trap made by hand.
    let trap = Func::wrap(&mut store, || -> Result<()> { Err(Trap::Interrupt.into()) });
    let error = trap
        .typed::<(), ()>(&store)?
        .call(&mut store, ())
        .unwrap_err();
    println!("{:?}", error.downcast_ref::<Trap>());

    // Without details, and without backtraces at all.
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, "(module (func (export \"f\") unreachable))")?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let error = instance
        .get_typed_func::<(), ()>(&mut store, "f")?
        .call(&mut store, ())
        .unwrap_err();
    println!(
        "{:?} {}",
        error.downcast_ref::<Trap>(),
        error.is::<WasmBacktrace>()
    );
    Ok(())
}
