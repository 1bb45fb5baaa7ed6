//! Waiting as futures do: for what a [`Patience`] noted.

use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::task::Poll;

use async_io::{Async, Timer};
use rustix::event::PollFlags;

use super::patience::Patience;

/// Waits for what the last attempt noted; any of it will do.
///
/// Descriptors that cannot be watched, as there are too many or the system does not know how, count as ready: the next attempt
/// finds out.
pub(crate) async fn wait(patience: &mut Patience) {
    let Some(wait) = patience.take_wait() else {
        return;
    };
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
    let mut timer = pin!(wait.at_most.map_or_else(Timer::never, Timer::after));
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
    // An error is for the next attempt to find.
    drop(if flags.contains(PollFlags::OUT) {
        fd.writable().await
    } else {
        fd.readable().await
    });
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
