//! Guests that wait in a function of preview 1 are stopped, and let others run, as if they ran code of their own.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use cowling::{
    Engine, Linker, Module, Region, Result, RunResult, Store, Terminated, Trap, TypedFunc,
};
use cowling_wasi::p1::{self, WasiP1Ctx};
use cowling_wasi::{DescriptorStream, InputStream, RandomSource, Readiness, WasiCtxBuilder};

/// What a guest waits for, the code that does, and what makes it go on.
struct Case {
    name: &'static str,
    code: &'static str,
    /// Fills the context; returns what ends the wait, if anything can.
    prepare: fn(&mut WasiCtxBuilder) -> Box<dyn FnOnce() + Send>,
}

/// One buffer of 8 bytes at 64, described at 0; the result goes to 32.
const ONE_BUFFER: &str = r#"
    (data (i32.const 0) "\40\00\00\00\08\00\00\00")"#;

fn from_pipe(builder: &mut WasiCtxBuilder) -> Box<dyn FnOnce() + Send> {
    let (reader, mut writer) = pipe().unwrap();
    builder.stdin(DescriptorStream::new(reader));
    Box::new(move || writer.write_all(b"bytes").unwrap())
}

fn to_full_pipe(builder: &mut WasiCtxBuilder) -> Box<dyn FnOnce() + Send> {
    let (mut reader, writer) = pipe().unwrap();
    fill(&writer);
    builder.stdout(DescriptorStream::new(writer));
    Box::new(move || {
        // Enough that there is room again.
        let mut bytes = vec![0; 32 * 1024];
        reader.read_exact(&mut bytes).unwrap();
        // The reader stays open until the process ends: a guest that writes must not find it closed.
        std::mem::forget(reader);
    })
}

/// Writes until there is no room.
fn fill(writer: &PipeWriter) {
    let bytes = [0_u8; 4096];
    let nowait = rustix::io::ReadWriteFlags::NOWAIT;
    let buffers = [std::io::IoSlice::new(&bytes)];
    while rustix::io::pwritev2(writer, &buffers, u64::MAX, nowait).is_ok() {}
}

fn listening(builder: &mut WasiCtxBuilder) -> Box<dyn FnOnce() + Send> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    builder.preopened_socket(listener).unwrap();
    Box::new(move || drop(TcpStream::connect(address).unwrap()))
}

fn connected(builder: &mut WasiCtxBuilder) -> Box<dyn FnOnce() + Send> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    builder
        .preopened_socket(listener.accept().unwrap().0)
        .unwrap();
    // More than one piece, for those who want all of it.
    Box::new(move || {
        other.write_all(b"1234").unwrap();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            other.write_all(b"5678").unwrap();
        });
    })
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "fd_read of an empty pipe",
            code: "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32))",
            prepare: from_pipe,
        },
        Case {
            name: "fd_write to a full pipe",
            code: "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))",
            prepare: to_full_pipe,
        },
        Case {
            name: "poll_oneoff for a descriptor",
            // A subscription of 48 bytes at 256: its kind is 1, its descriptor 0.
            code: "(i32.store8 (i32.const 264) (i32.const 1))
                (call $poll_oneoff (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 32))",
            prepare: from_pipe,
        },
        Case {
            name: "sock_accept",
            code: "(call $sock_accept (i32.const 3) (i32.const 0) (i32.const 32))",
            prepare: listening,
        },
        Case {
            name: "sock_recv of all of a buffer",
            code: "(call $sock_recv (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 2)
                    (i32.const 32) (i32.const 40))
                (if (i32.ne (i32.load (i32.const 32)) (i32.const 8)) (then unreachable))",
            prepare: connected,
        },
    ]
}

/// More bytes than anybody wants to wait for.
fn random() -> Case {
    /// How often it was asked.
    struct Slow(u32);

    impl RandomSource for Slow {
        fn fill(&mut self, _: &mut [u8]) -> std::io::Result<()> {
            self.0 += 1;
            assert!(self.0 < 1_000, "nobody looks");
            thread::sleep(Duration::from_millis(5));
            Ok(())
        }
    }

    Case {
        name: "random_get of many bytes",
        code: "(drop (memory.grow (i32.const 32767)))
            (call $random_get (i32.const 0) (i32.const 0x7fff_0000))",
        prepare: |builder| {
            builder.random(Slow(0));
            Box::new(|| {})
        },
    }
}

fn module(engine: &Engine, code: &str) -> Module {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_recv" (func $sock_recv (param i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1) {ONE_BUFFER}
            (func (export "run") (result i32) {code}))"#
    );
    Module::new(engine, text).unwrap()
}

/// A store with a context, and the guest's function.
fn prepared(
    code: &str,
    wasi: WasiP1Ctx,
    add: fn(&mut Linker<WasiP1Ctx>) -> Result<()>,
) -> (Store<WasiP1Ctx>, TypedFunc<(), i32>) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    add(&mut linker).unwrap();
    let mut store = Store::new(&engine, wasi);
    let instance = linker
        .instantiate(&mut store, &module(&engine, code))
        .unwrap();
    let run = instance.get_typed_func(&mut store, "run").unwrap();
    (store, run)
}

fn blocking(linker: &mut Linker<WasiP1Ctx>) -> Result<()> {
    p1::add_to_linker_sync(linker, |ctx| ctx)
}

fn awaiting(linker: &mut Linker<WasiP1Ctx>) -> Result<()> {
    p1::add_to_linker_async(linker, |ctx| ctx)
}

/// An hour on the guest's monotonic clock, in a subscription at 256.
const AN_HOUR: &str = "(i32.store8 (i32.const 272) (i32.const 1))
    (i64.store (i32.const 280) (i64.const 3_600_000_000_000))
    (call $poll_oneoff (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 32))";

#[test]
fn a_guest_that_waits_is_ended_by_its_deadline_and_from_outside() {
    let hour = Case {
        name: "poll_oneoff for an hour",
        code: AN_HOUR,
        prepare: |_| Box::new(|| {}),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for case in cases().into_iter().chain([hour, random()]) {
        for (remote, awaited) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut builder = WasiCtxBuilder::new();
            // Kept: dropping it would end the wait in another way.
            let _go_on = (case.prepare)(&mut builder);
            let add = if awaited { awaiting } else { blocking };
            let (mut store, run) = prepared(case.code, builder.build_p1(), add);
            let expected = if remote {
                Terminated::Remote
            } else {
                Terminated::Deadline
            };
            let (ended, wait) = mpsc::channel::<()>();
            let killer = remote.then(|| {
                let switch = store.kill_switch();
                thread::spawn(move || {
                    while wait.recv_timeout(Duration::from_millis(30))
                        == Err(mpsc::RecvTimeoutError::Timeout)
                    {
                        let _ = switch.terminate();
                    }
                })
            });
            if !remote {
                store.set_timeout(Duration::from_millis(30)).unwrap();
            }
            let error = if awaited {
                runtime.block_on(run.call_async(&mut store, ()))
            } else {
                run.call(&mut store, ())
            }
            .unwrap_err();
            let (name, error_is) = (case.name, error.downcast_ref());
            assert_eq!(error_is, Some(&expected), "{name}, awaited: {awaited}");
            assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
            drop(ended);
            if let Some(killer) = killer {
                killer.join().unwrap();
            }
        }
    }
}

#[test]
fn a_guest_that_waits_goes_on_when_it_can() {
    for case in cases() {
        let mut builder = WasiCtxBuilder::new();
        let go_on = (case.prepare)(&mut builder);
        let (mut store, run) = prepared(case.code, builder.build_p1(), blocking);
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            go_on();
        });
        assert_eq!(run.call(&mut store, ()).unwrap(), 0, "{}", case.name);
        other.join().unwrap();
    }
}

#[test]
fn a_guest_that_waits_lets_its_executor_run_others() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for case in cases() {
        let mut builder = WasiCtxBuilder::new();
        let go_on = (case.prepare)(&mut builder);
        let (mut store, run) = prepared(case.code, builder.build_p1(), awaiting);
        let errno = runtime.block_on(async {
            // The executor has one thread: this task only runs while the guest's is pending.
            let other = tokio::spawn(async move { go_on() });
            let errno = run.call_async(&mut store, ()).await.unwrap();
            other.await.unwrap();
            errno
        });
        assert_eq!(errno, 0, "{}", case.name);
    }
    let (mut store, run) = prepared(AN_HOUR, WasiCtxBuilder::new().build_p1(), awaiting);
    runtime.block_on(async {
        let mut call = Box::pin(run.call_async(&mut store, ()));
        for _ in 0..3 {
            let first = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx)));
            assert!(first.await.is_pending());
        }
    });
}

#[test]
fn a_guest_that_waits_gives_way_at_its_epochs_and_still_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for case in cases() {
        let mut builder = WasiCtxBuilder::new();
        let go_on = (case.prepare)(&mut builder);
        let (mut store, run) = prepared(case.code, builder.build_p1(), awaiting);
        store.epoch_deadline_async_yield_and_update(1);
        let engine = store.engine().clone();
        let other = thread::spawn(move || {
            for _ in 0..20 {
                engine.increment_epoch();
                thread::sleep(Duration::from_millis(10));
            }
            go_on();
        });
        let errno = runtime.block_on(run.call_async(&mut store, ())).unwrap();
        assert_eq!(errno, 0, "{}", case.name);
        other.join().unwrap();
    }
}

#[test]
fn a_guest_whose_descriptor_became_ready_since_it_tried_tries_again() {
    /// Bytes come between the first attempt to read and the look whether there are any.
    struct Late(PipeReader, bool);

    impl InputStream for Late {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.1, true) {
                return self.0.read(buffer);
            }
            Err(std::io::ErrorKind::WouldBlock.into())
        }

        fn readiness(&self) -> Readiness<'_> {
            Readiness::Descriptor(self.0.as_fd())
        }
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"bytes").unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(Late(reader, false));
    let case = &cases()[0];
    let (mut store, run) = prepared(case.code, builder.build_p1(), awaiting);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(woken.clone());
    let mut call = pin!(run.call_async(&mut store, ()));
    let errno = loop {
        match call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(errno) => break errno.unwrap(),
            // Nothing that happens later is waited for.
            Poll::Pending => assert!(woken.0.swap(false, Ordering::SeqCst), "sleeps"),
        }
    };
    assert_eq!(errno, 0);
}

#[test]
fn a_guest_that_waits_is_preempted_and_still_waits_when_it_is_resumed() {
    for case in cases() {
        let mut builder = WasiCtxBuilder::new();
        let go_on = (case.prepare)(&mut builder);
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        blocking(&mut linker).unwrap();
        let pre = linker.instantiate_pre(&module(&engine, case.code)).unwrap();
        let region = Region::builder().slots(1).build().unwrap();
        let mut guest = region.guest(&pre, builder.build_p1()).build().unwrap();
        guest.set_quantum(Some(Duration::from_millis(10))).unwrap();
        let mut ran = guest.run("run", &[]);
        for _ in 0..2 {
            assert!(matches!(ran, Ok(RunResult::Preempted)), "{}", case.name);
            ran = guest.resume();
        }
        go_on();
        let mut resumed = 0;
        while let Ok(RunResult::Preempted) = ran {
            resumed += 1;
            assert!(resumed < 1000, "{}", case.name);
            ran = guest.resume();
        }
        let Ok(RunResult::Returned(values)) = ran else {
            panic!("{}: {ran:?}", case.name);
        };
        assert_eq!(values[0].i32(), Some(0), "{}", case.name);
    }
}
