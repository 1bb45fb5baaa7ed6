//! One guest, ready to be called, for the groups that suspend and interrupt it.

/// What makes a running guest stop, or count.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Metering {
    /// Nothing.
    Plain,
    /// Epochs, with a deadline that does not come.
    Epochs,
    /// Fuel, more than it can burn.
    Fuel,
}

/// Epochs that do not pass while something is measured.
pub const FAR_AWAY: u64 = 1 << 40;

/// More fuel than can be burnt.
pub const PLENTY: u64 = 1 << 60;

macro_rules! engines {
    ($($engine:ident),*) => {$(
        pub mod $engine {
            use super::{FAR_AWAY, Metering, PLENTY};
            use crate::engines::failed;
            use cowling_bench_harness::guests;
            use ::$engine::{Caller, Config, Engine, Instance, Linker, Module, Store, TypedFunc};
            use anyhow::Result;
            use std::pin::Pin;
            use std::task::{Context, Poll, Waker};

            /// As the reports call it.
            pub const NAME: &str = stringify!($engine);

            /// A guest, ready to be called.
            pub struct Ready {
                pub store: Store<()>,
                pub instance: Instance,
            }

            impl Ready {
                /// The exported function from number to number.
                pub fn func(&mut self, name: &str) -> Result<TypedFunc<i32, i32>> {
                    self.instance.get_typed_func(&mut self.store, name).map_err(failed)
                }
            }

            fn engine(metering: Metering) -> Result<Engine> {
                let mut config = Config::new();
                config.epoch_interruption(metering == Metering::Epochs);
                config.consume_fuel(metering == Metering::Fuel);
                Engine::new(&config).map_err(failed)
            }

            fn store(engine: &Engine, metering: Metering) -> Result<Store<()>> {
                let mut store = Store::new(engine, ());
                match metering {
                    Metering::Plain => {}
                    Metering::Epochs => store.set_epoch_deadline(FAR_AWAY),
                    Metering::Fuel => store.set_fuel(PLENTY).map_err(failed)?,
                }
                Ok(store)
            }

            /// [`guests::WORK`] with a host function that returns its argument.
            pub fn work(metering: Metering) -> Result<Ready> {
                let engine = engine(metering)?;
                let module = Module::new(&engine, guests::WORK).map_err(failed)?;
                let mut linker = Linker::new(&engine);
                linker.func_wrap("host", "call", |x: i32| x).map_err(failed)?;
                let mut store = store(&engine, metering)?;
                let instance = linker.instantiate(&mut store, &module).map_err(failed)?;
                Ok(Ready { store, instance })
            }

            /// [`guests::WORK`] with an asynchronous host function that is not ready when first asked.
            pub fn awaiting() -> Result<Ready> {
                let engine = engine(Metering::Plain)?;
                let module = Module::new(&engine, guests::WORK).map_err(failed)?;
                let mut linker = Linker::new(&engine);
                linker
                    .func_wrap_async("host", "call", |_: Caller<'_, ()>, (x,): (i32,)| {
                        Box::new(async move {
                            crate::groups::SecondTime::default().await;
                            x
                        })
                    })
                    .map_err(failed)?;
                let mut store = store(&engine, Metering::Plain)?;
                let instance = block_on(linker.instantiate_async(&mut store, &module)).map_err(failed)?;
                Ok(Ready { store, instance })
            }

            /// [`guests::SPIN`], which calls `running` when it runs.
            pub fn spinning(metering: Metering, running: impl Fn() + Send + Sync + 'static) -> Result<Ready> {
                let engine = engine(metering)?;
                let module = Module::new(&engine, guests::SPIN).map_err(failed)?;
                let mut linker = Linker::new(&engine);
                linker.func_wrap("host", "running", running).map_err(failed)?;
                let mut store = store(&engine, metering)?;
                let instance = linker.instantiate(&mut store, &module).map_err(failed)?;
                Ok(Ready { store, instance })
            }

            /// Polls until it is ready.
            pub fn block_on<F: Future>(future: F) -> F::Output {
                let mut future = std::pin::pin!(future);
                let mut context = Context::from_waker(Waker::noop());
                loop {
                    if let Poll::Ready(output) = Pin::as_mut(&mut future).poll(&mut context) {
                        return output;
                    }
                }
            }
        }
    )*};
}

engines!(cowling, wasmtime);
