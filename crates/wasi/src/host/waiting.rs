//! Waiting as futures do: for what a [`Patience`] noted.

use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::task::Poll;

use async_io::{Async, Timer};
use rustix::event::PollFlags;

use super::patience::{Patience, SLICE};

/// Waits for what the last attempt noted; any of it will do. If nothing was noted, only others have their turn.
///
/// Never waits longer than a [`SLICE`]: nothing wakes the task of a guest that is asked for something, so the caller has to look.
///
/// Descriptors that cannot be watched, as there are too many or the system does not know how, count as ready: the next attempt
/// finds out.
pub(crate) async fn wait(patience: &mut Patience) {
    let Some(wait) = patience.take_wait() else {
        return;
    };
    if wait.on.is_empty() && wait.at_most.is_none() {
        return yield_now().await;
    }
    let start = std::time::Instant::now();
    let mut watched = Vec::with_capacity(wait.on.len());
    for (fd, flags) in wait.on {
        match Async::new_nonblocking(fd) {
            Ok(fd) => watched.push((fd, flags)),
            // A moment for others, lest this becomes a busy loop.
            Err(_) => return yield_now().await,
        }
    }
    let mut ready: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    for (fd, flags) in &watched {
        ready.push(Box::pin(is_ready(fd, *flags)));
    }
    let at_most = wait.at_most.map_or(SLICE, |at_most| at_most.min(SLICE));
    let mut timer = pin!(Timer::after(at_most));
    std::future::poll_fn(|context| {
        let mut over = timer.as_mut().poll(context).is_ready();
        for future in &mut ready {
            over |= future.as_mut().poll(context).is_ready();
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    patience.waited += start.elapsed();
}

async fn is_ready(fd: &Async<OwnedFd>, flags: PollFlags) {
    let mut readable = pin!(fd.readable());
    let mut writable = pin!(fd.writable());
    let (reads, writes) = (
        flags.contains(PollFlags::IN),
        flags.contains(PollFlags::OUT),
    );
    std::future::poll_fn(|context| {
        // An error is for the next attempt to find.
        let reached = reads && readable.as_mut().poll(context).is_ready()
            || writes && writable.as_mut().poll(context).is_ready();
        if reached {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Lets the executor run others.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write, pipe};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake, Waker};
    use std::time::{Duration, Instant};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_became_ready_since_the_attempt_is_not_waited_for() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let mut patience = Patience::noting();
        let on = [(reader.as_fd(), PollFlags::IN)];
        patience.wait(&on, None).unwrap();

        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut wait = pin!(wait(&mut patience));
        assert!(wait.as_mut().poll(&mut context).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "others have their turn");
        assert!(wait.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn no_wait_is_longer_than_a_slice() {
        let (reader, _writer) = pipe().unwrap();
        for at_most in [None, Some(Duration::from_secs(3600))] {
            let mut patience = Patience::noting();
            let on = [(reader.as_fd(), PollFlags::IN)];
            patience.wait(&on, at_most).unwrap();
            async_io::block_on(wait(&mut patience));
            assert!(patience.waited >= SLICE, "{at_most:?}");
        }
    }

    #[test]
    fn a_descriptor_waited_for_in_two_states_is_ready_in_either() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let both = PollFlags::IN | PollFlags::OUT;
        let is_ready = |ours: &UnixStream| {
            let fd = Async::new_nonblocking(ours.as_fd().try_clone_to_owned().unwrap()).unwrap();
            let ready = async {
                is_ready(&fd, both).await;
                true
            };
            let timer = async {
                Timer::at(Instant::now() + Duration::from_secs(60)).await;
                false
            };
            let (mut ready, mut timer) = (pin!(ready), pin!(timer));
            async_io::block_on(std::future::poll_fn(|context| {
                match ready.as_mut().poll(context) {
                    Poll::Pending => timer.as_mut().poll(context),
                    ready => ready,
                }
            }))
        };
        assert!(is_ready(&ours), "there is room");
        let full = loop {
            if let Err(error) = ours.write(&[0; 4096]) {
                break error.kind();
            }
        };
        assert_eq!(full, ErrorKind::WouldBlock);
        theirs.write_all(b"x").unwrap();
        assert!(is_ready(&ours), "there is something to read");
        ours.read_exact(&mut [0]).unwrap();
        while theirs.read(&mut [0; 4096]).is_ok() {}
        assert!(is_ready(&ours), "there is room again");
    }
}
