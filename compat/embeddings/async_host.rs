//! Host functions that wait, on tokio: many guests in flight on two threads.

use std::time::Duration;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "host" "sleep" (func $sleep (param i32)))
  (import "host" "fetch" (func $fetch (param i32) (result i64)))
  (import "host" "now" (func $now (result i32)))
  (func $begin (call $sleep (i32.const 1)))
  (start $begin)
  (func (export "run") (param $n i32) (result i64)
    (local $sum i64)
    (loop $again
      (call $sleep (i32.const 1))
      (local.set $sum (i64.add (local.get $sum) (call $fetch (local.get $n))))
      (drop (call $now))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
"#;

struct Guest {
    id: u32,
    fetched: Vec<i64>,
    calls: u32,
}

fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap_async("host", "sleep", |_caller, (ms,): (u32,)| {
        Box::new(tokio::time::sleep(Duration::from_millis(ms.into())))
    })?;
    linker.func_wrap_async(
        "host",
        "fetch",
        |mut caller: Caller<'_, Guest>, (key,): (i32,)| {
            Box::new(async move {
                tokio::task::yield_now().await;
                if key > 100 {
                    bail!("{key} is not there");
                }
                let value = i64::from(key) * i64::from(caller.data().id);
                caller.data_mut().fetched.push(value);
                Ok(value)
            })
        },
    )?;
    // One of them need not wait.
    linker.func_wrap("host", "now", |mut caller: Caller<'_, Guest>| {
        caller.data_mut().calls += 1;
        caller.data().calls
    })?;
    Ok(linker)
}

async fn run(pre: InstancePre<Guest>, engine: Engine, id: u32) -> Result<(i64, Guest)> {
    let guest = Guest {
        id,
        fetched: Vec::new(),
        calls: 0,
    };
    let mut store = Store::new(&engine, guest);
    let instance = pre.instantiate_async(&mut store).await?;
    let run = instance.get_typed_func::<u32, i64>(&mut store, "run")?;
    let sum = run.call_async(&mut store, 5 + id).await?;
    Ok((sum, store.into_data()))
}

pub fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?;
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let pre = linker(&engine)?.instantiate_pre(&module)?;

    runtime.block_on(async {
        let tasks: Vec<_> = (1..=8)
            .map(|id| tokio::spawn(run(pre.clone(), engine.clone(), id)))
            .collect();
        for task in tasks {
            let (sum, guest) = task.await??;
            println!(
                "guest {}: {sum} from {} fetches, {} calls",
                guest.id,
                guest.fetched.len(),
                guest.calls
            );
        }

        // An error of a host function that waited.
        let error = run(pre.clone(), engine.clone(), 200).await.err().unwrap();
        println!("{}", error.root_cause());

        // A call that is dropped while it waits.
        let call = run(pre.clone(), engine.clone(), 20);
        let timeout = tokio::time::timeout(Duration::from_millis(3), call).await;
        println!("in time: {}", timeout.is_ok());

        // Untyped, with a function of the host's made for it.
        let mut store = Store::new(&engine, 1u32);
        let ty = FuncType::new(&engine, [ValType::I32], [ValType::I32]);
        let double = Func::new_async(&mut store, ty, |caller, params, results| {
            Box::new(async move {
                tokio::task::yield_now().await;
                results[0] = Val::I32(params[0].unwrap_i32() * 2 + *caller.data() as i32);
                Ok(())
            })
        });
        let mut results = [Val::I32(0)];
        double
            .call_async(&mut store, &[Val::I32(20)], &mut results)
            .await?;
        println!("{}", results[0].unwrap_i32());
        Ok(())
    })
}
