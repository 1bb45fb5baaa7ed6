//! The smallest executor that is one: threads that poll what was woken.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Polls a future on this thread until it is ready, sleeping until it is woken in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls a future once, without anybody to wake.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future so often, expecting it to be pending each time but the last; fails the test when it is not.
#[track_caller]
pub(crate) fn ready_at_poll<F: Future>(mut future: Pin<&mut F>, polls: usize) -> F::Output {
    for poll in 1..polls {
        assert!(
            poll_once(future.as_mut()).is_pending(),
            "ready at poll {poll}"
        );
    }
    match poll_once(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("still pending at poll {polls}"),
    }
}

/// An executor whose tasks any of its threads may poll.
pub(crate) struct Executor {
    queue: Arc<Queue>,
}

struct Queue {
    ready: Mutex<VecDeque<Arc<Task>>>,
    changed: Condvar,
    unfinished: AtomicUsize,
}

struct Task {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    queue: Arc<Queue>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let queue = self.queue.clone();
        queue.ready.lock().unwrap().push_back(self);
        queue.changed.notify_one();
    }
}

impl Executor {
    pub(crate) fn new() -> Executor {
        Executor {
            queue: Arc::new(Queue {
                ready: Mutex::default(),
                changed: Condvar::new(),
                unfinished: AtomicUsize::new(0),
            }),
        }
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.queue.unfinished.fetch_add(1, Ordering::SeqCst);
        Arc::new(Task {
            future: Mutex::new(Some(Box::pin(future))),
            queue: self.queue.clone(),
        })
        .wake();
    }

    /// Runs all tasks to their end on this many threads.
    pub(crate) fn run(&self, threads: usize) {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work());
            }
        });
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            // A task that is woken while it is polled is queued once more; whoever takes it waits here for the poll's end.
            let mut future = task.future.lock().unwrap();
            let Some(running) = future.as_mut() else {
                continue;
            };
            let waker = Waker::from(task.clone());
            if running
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
            {
                *future = None;
                self.queue.unfinished.fetch_sub(1, Ordering::SeqCst);
                let _queue = self.queue.ready.lock().unwrap();
                self.queue.changed.notify_all();
            }
        }
    }

    /// The next task to poll; `None` when all are finished.
    fn next(&self) -> Option<Arc<Task>> {
        let mut ready = self.queue.ready.lock().unwrap();
        loop {
            if let Some(task) = ready.pop_front() {
                return Some(task);
            }
            if self.queue.unfinished.load(Ordering::SeqCst) == 0 {
                return None;
            }
            ready = self.queue.changed.wait(ready).unwrap();
        }
    }
}
