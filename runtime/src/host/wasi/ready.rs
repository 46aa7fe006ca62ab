//! Waiting for descriptors of the host other than standard input: named pipes and devices.
//!
//! Regular files never wait, so this is rare; each wait has a thread of its own in `poll`, which
//! costs no processor time and ends with the wait.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::time::Timespec;

use super::errno::Errno;

/// A descriptor of the host, and whether it is to become writable or readable.
#[derive(Debug)]
pub(crate) struct Interest {
    pub(crate) fd: OwnedFd,
    pub(crate) write: bool,
}

impl Interest {
    fn flags(&self) -> PollFlags {
        if self.write { PollFlags::OUT } else { PollFlags::IN }
    }
}

/// Whether a read or write on `fd` would not wait now; a hang-up counts, as the call reports it.
pub(crate) fn is_ready(fd: &impl std::os::fd::AsFd, write: bool) -> Result<bool, Errno> {
    let flags = if write { PollFlags::OUT } else { PollFlags::IN };
    let mut fds = [PollFd::new(fd, flags)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now)))?;
    Ok(ready > 0)
}

/// The thread of a wait; dropping it ends the thread.
struct Waiter {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // It fails only when the counter is full, and then the thread is awake anyway.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // Its descriptors are closed then: a stale end of a pipe would look like a partner.
            // It is awake, so this takes microseconds; it has no way to panic.
            let _ = thread.join();
        }
    }
}

/// Waits until one of `interests` is ready.
///
/// # Cancel safety
/// Dropping the future ends the wait and its thread.
pub(crate) async fn any_ready(interests: Vec<Interest>) -> Result<(), Errno> {
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let mut waiter = Waiter { stop: Arc::new(event), thread: None };
    let stop = Arc::clone(&waiter.stop);
    let (send, receive) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("faasm-wait".into());
    waiter.thread = Some(thread.spawn(move || {
        // The receiver is gone only when nobody waits any more.
        let _ = send.send(poll(&stop, &interests));
    })?);
    receive.await.unwrap_or(Err(Errno::Canceled))
}

fn poll(stop: &OwnedFd, interests: &[Interest]) -> Result<(), Errno> {
    let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
    fds.extend(interests.iter().map(|interest| PollFd::new(&interest.fd, interest.flags())));
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
    Ok(())
}

/// Waits a moment, for what the system cannot be asked to wait for.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[cfg(test)]
mod tests {
    use super::super::testing::block_on;
    use super::*;

    #[test]
    fn a_wait_that_is_over_or_dropped_holds_no_descriptor() {
        for written in [true, false] {
            let (read, write) = std::io::pipe().expect("a pipe");
            if written {
                rustix::io::write(&write, b"x").expect("a reader is there");
            }
            let fd = read.into();
            let wait = any_ready(vec![Interest { fd, write: false }]);
            let limit = Duration::from_millis(20);
            let waited = block_on(async { tokio::time::timeout(limit, wait).await });
            assert_eq!(waited.is_ok(), written);
            let error = rustix::io::write(&write, b"y");
            assert_eq!(error, Err(rustix::io::Errno::PIPE), "the read end is still open");
        }
    }

    #[test]
    fn a_pipe_is_ready_once_written() {
        let (read, write) = std::io::pipe().expect("a pipe");
        assert_eq!(is_ready(&read, false), Ok(false));
        assert_eq!(is_ready(&write, true), Ok(true));
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            rustix::io::write(&write, b"x").expect("a reader is there");
            write
        });
        let fd = read.try_clone().expect("a descriptor").into();
        assert_eq!(block_on(any_ready(vec![Interest { fd, write: false }])), Ok(()));
        assert_eq!(is_ready(&read, false), Ok(true));
        writer.join().expect("the writer does not fail");
    }
}
