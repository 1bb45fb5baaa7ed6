//! The signal, between this runtime and a host that uses the same one.

use crate::*;
use std::process::Command;
use std::time::Duration;

/// Runs a test's body in a process of its own.
fn in_child(name: &str, body: impl FnOnce()) {
    const VARIABLE: &str = "COWLING_VM_INTERRUPTION_TEST";
    if std::env::var_os(VARIABLE).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "{text}");
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

static FOREIGN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

unsafe extern "C" fn foreign(_: i32) {
    FOREIGN.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

#[test]
fn a_handler_that_was_there_gets_the_signals_that_are_its_own() {
    in_child(
        "signals::a_handler_that_was_there_gets_the_signals_that_are_its_own",
        || {
            // SAFETY: the handler has the signature that no flags ask for; all zeros is a valid sigaction.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = foreign as *const () as usize;
                assert_eq!(
                    libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut()),
                    0
                );
            }
            let mut guest = Guest::plain();
            for _ in 0..10 {
                guest
                    .store
                    .as_mut()
                    .set_deadline(Some(std::time::Instant::now() + Duration::from_millis(3)))
                    .unwrap();
                assert_eq!(terminated(guest.call("spin")), Terminated::Deadline);
            }
            let count = || FOREIGN.load(std::sync::atomic::Ordering::SeqCst);
            assert_eq!(count(), 0);
            // SAFETY: sends a signal to this thread.
            unsafe { libc::raise(libc::SIGURG) };
            assert_eq!(count(), 1);
        },
    );
}

#[test]
fn by_default_the_signal_does_nothing() {
    in_child("signals::by_default_the_signal_does_nothing", || {
        let mut guest = Guest::plain();
        guest.assert_usable();
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(libc::SIGURG) };
        guest.assert_usable();
    });
}

#[test]
fn the_error_number_and_blocking_calls_of_host_functions_survive() {
    let mut guest = Guest::new(|_, n| {
        // A read that is restarted: the writer writes after several signals.
        let (mut reader, mut writer) = std::io::pipe()?;
        let thread = std::thread::spawn(move || {
            use std::io::Write;
            std::thread::sleep(Duration::from_millis(40));
            writer.write_all(&[5]).unwrap();
        });
        let mut buffer = [0; 1];
        use std::io::Read;
        reader.read_exact(&mut buffer)?;
        thread.join().unwrap();
        Ok(n + i32::from(buffer[0]))
    });
    guest
        .store
        .as_mut()
        .set_quantum(Some(Duration::from_millis(1)))
        .unwrap();
    assert_eq!(guest.run_to_end("host").unwrap(), 6);
}

#[test]
fn a_resumed_guest_has_the_signal_mask_of_the_thread_that_resumes_it() {
    let mut guest = Guest::plain();
    guest
        .store
        .as_mut()
        .set_quantum(Some(Duration::from_millis(1)))
        .unwrap();
    let progress = guest.start("spin").unwrap();
    assert!(matches!(progress, Progress::Suspended(_)));
    std::thread::spawn(move || {
        // SAFETY: changes and reads this thread's mask and alternate stack; all zeros is valid for both.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGUSR2);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            // So that the thread has its own stack for signals.
            Guest::plain().assert_usable();
            let stack = || {
                let mut stack: libc::stack_t = std::mem::zeroed();
                libc::sigaltstack(std::ptr::null(), &mut stack);
                stack.ss_sp
            };
            let before = stack();
            for _ in 0..5 {
                guest.store.as_mut().resume(None).unwrap();
                let mut mask: libc::sigset_t = std::mem::zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
                assert_eq!(libc::sigismember(&mask, libc::SIGUSR2), 1);
                assert_eq!(stack(), before);
            }
        }
        guest.store.as_mut().cancel();
        guest.assert_usable();
    })
    .join()
    .unwrap();
}
