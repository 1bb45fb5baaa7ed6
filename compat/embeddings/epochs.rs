//! Deadlines: a thread counts ticks, guests stop, ask or give way when their time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use wasmtime::*;

const GUEST: &str = r#"
(module
  (import "host" "tick" (func $tick))
  (func (export "forever") (loop $again (br $again)))
  (func (export "ticks") (param $n i32) (result i32)
    (local $done i32)
    (loop $again
      (call $tick)
      (local.set $done (i32.add (local.get $done) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $done) (local.get $n))))
    (local.get $done)))
"#;

#[derive(Default)]
struct Request {
    expired: u32,
}

/// A clock that ticks as long as it lives.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: EngineWeak) -> Ticker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(2));
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.increment_epoch();
            }
        });
        Ticker {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn guest(engine: &Engine) -> Result<(Store<Request>, Instance)> {
    let module = Module::new(engine, GUEST)?;
    let mut linker = Linker::new(engine);
    let clock = engine.clone();
    linker.func_wrap("host", "tick", move || clock.increment_epoch())?;
    let mut store = Store::new(engine, Request::default());
    store.set_epoch_deadline(1);
    let instance = linker.instantiate(&mut store, &module)?;
    Ok((store, instance))
}

pub fn main() -> Result<()> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config)?;

    // Guests that do not end by themselves.
    let (mut store, instance) = guest(&engine)?;
    let forever = instance.get_typed_func::<(), ()>(&mut store, "forever")?;
    let ticker = Ticker::start(engine.weak());
    store.set_epoch_deadline(2);
    let error = forever.call(&mut store, ()).unwrap_err();
    println!("{:?}", error.downcast_ref::<Trap>());

    // Some are given more time, but not for ever.
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().expired += 1;
        match store.data().expired {
            1..5 => Ok(UpdateDeadline::Continue(1)),
            _ => bail!("it has had its time"),
        }
    });
    store.set_epoch_deadline(1);
    let error = forever.call(&mut store, ()).unwrap_err();
    println!(
        "{} after {} extensions",
        error.root_cause(),
        store.data().expired - 1
    );
    store.data_mut().expired = 0;
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Interrupt));
    store.set_epoch_deadline(1);
    println!(
        "{:?}",
        forever
            .call(&mut store, ())
            .unwrap_err()
            .downcast_ref::<Trap>()
    );
    drop(ticker);

    // A clock that the guest itself advances.
    let (mut store, instance) = guest(&engine)?;
    let ticks = instance.get_typed_func::<u32, u32>(&mut store, "ticks")?;
    store.set_epoch_deadline(100);
    println!("ticks: {}", ticks.call(&mut store, 10)?);
    store.set_epoch_deadline(5);
    println!(
        "ticks: {:?}",
        ticks
            .call(&mut store, 10)
            .map_err(|e| e.downcast::<Trap>().ok())
    );
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().expired += 1;
        Ok(UpdateDeadline::Continue(10))
    });
    store.set_epoch_deadline(10);
    println!(
        "ticks: {}, expired {} times",
        ticks.call(&mut store, 35)?,
        store.data().expired
    );
    store.epoch_deadline_trap();
    store.set_epoch_deadline(1);
    println!(
        "ticks: {:?}",
        ticks
            .call(&mut store, 10)
            .map_err(|e| e.downcast::<Trap>().ok())
    );

    // Guests that share a thread and give way to each other at each tick.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let ticker = Ticker::start(engine.weak());
    let (mut first, instance) = guest(&engine)?;
    let ticks = instance.get_typed_func::<u32, u32>(&mut first, "ticks")?;
    first.epoch_deadline_async_yield_and_update(1);
    first.set_epoch_deadline(1);
    let (mut second, instance) = guest(&engine)?;
    let forever = instance.get_typed_func::<(), ()>(&mut second, "forever")?;
    let done = Arc::new(AtomicBool::new(false));
    let finished = done.clone();
    second.epoch_deadline_callback(move |mut store| {
        store.data_mut().expired += 1;
        if finished.load(Ordering::Relaxed) {
            bail!("the other is done")
        }
        match store.data().expired % 2 {
            0 => Ok(UpdateDeadline::Yield(1)),
            _ => Ok(UpdateDeadline::YieldCustom(
                1,
                Box::pin(tokio::task::yield_now()),
            )),
        }
    });
    second.set_epoch_deadline(1);
    let (ticks, forever) = runtime.block_on(async {
        let ticks = async {
            let ticks = ticks.call_async(&mut first, 20).await;
            done.store(true, Ordering::Relaxed);
            ticks
        };
        tokio::join!(ticks, forever.call_async(&mut second, ()))
    });
    println!("ticks: {}, {}", ticks?, forever.unwrap_err().root_cause());
    println!("they took turns: {}", second.data().expired > 1);
    drop(ticker);
    Ok(())
}
