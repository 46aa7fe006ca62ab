//! Tasks of a step that have nothing to do: on each host the first task runs all ranks, and the
//! others live as long as it does.
//!
//! The first task listens at a name in the abstract namespace of sockets, which leaves nothing behind
//! however it ends. The others connect; the end of the connection is the end of the first task, which
//! therefore lets nobody go before all have come.

use std::{
    io::Read as _,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The first task of a host, while it lives.
#[derive(Debug)]
pub struct Leader {
    listener: UnixListener,
    thread: Option<JoinHandle<()>>,
    others: u32,
    come: Arc<AtomicU32>,
}

/// Why a task of a step cannot wait for the first one of its host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdleError {
    /// The first task cannot be found by the others.
    #[error("the tasks of step {step} on this host cannot find each other: {cause}")]
    Socket {
        /// The step.
        step: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// The first task did not show up.
    #[error(
        "the first task of step {step} on this host did not start within {} s, so this one has nothing to join; see its messages, or run `faasm-run -n N` in the allocation, without srun",
        .patience.as_secs()
    )]
    NoLeader {
        /// The step.
        step: String,
        /// How long it was waited for.
        patience: Duration,
    },
}

impl Leader {
    /// Lets the other tasks of this host find the first one; so many there are.
    ///
    /// # Errors
    /// The name is taken.
    pub fn announce(step: &str, others: u32) -> Result<Self, IdleError> {
        let fail = |cause| IdleError::Socket { step: step.to_owned(), cause };
        let address = address(step).map_err(fail)?;
        let listener = UnixListener::bind_addr(&address).map_err(fail)?;
        let own = listener.try_clone().map_err(fail)?;
        let come = Arc::new(AtomicU32::new(0));
        let thread = std::thread::Builder::new()
            .name("faasm-lead".to_owned())
            .spawn({
                let come = come.clone();
                move || hold_connections(&own, &come)
            })
            .map_err(fail)?;
        Ok(Self { listener, thread: Some(thread), others, come })
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // A task that comes later would find nobody, and take that for a failure.
        let give_up = Instant::now() + LATE_PATIENCE;
        while self.come.load(Ordering::Acquire) < self.others && Instant::now() < give_up {
            std::thread::sleep(LOOK_INTERVAL);
        }
        // Wakes the thread, which then lets the others go.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        // It cannot panic.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Keeps what connects until the listener is shut down: without being accepted only so many fit.
fn hold_connections(listener: &UnixListener, come: &AtomicU32) {
    let mut connections = Vec::new();
    while let Ok((connection, _)) = listener.accept() {
        connections.push(connection);
        come.fetch_add(1, Ordering::Release);
    }
}

/// Waits until the first task of this host has ended; it has this long to begin.
///
/// # Errors
/// It did not begin.
pub fn wait_for_leader(step: &str, patience: Duration) -> Result<(), IdleError> {
    let fail = |cause| IdleError::Socket { step: step.to_owned(), cause };
    let address = address(step).map_err(fail)?;
    let end = Instant::now() + patience;
    loop {
        if let Ok(mut stream) = UnixStream::connect_addr(&address)
            && is_ours(&stream)
        {
            // Nothing is ever sent: what ends the connection is the end of the leader.
            while stream.read(&mut [0; 1]).is_ok_and(|bytes| bytes > 0) {}
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(IdleError::NoLeader { step: step.to_owned(), patience });
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Lets this process, and those that it starts, run on all cores that the step may use on this host:
/// Slurm may have bound each task to one.
pub fn use_all_cores() {
    let mut all = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|core| all.set(core));
    // The kernel leaves out what we may not use. If it refuses, the cores stay those of one task.
    if let Err(error) = rustix::thread::sched_setaffinity(None, &all) {
        tracing::debug!("all ranks of this host share the cores of one task: {error}");
    }
}

/// Whether the other end belongs to our user: anybody may take a name.
fn is_ours(stream: &UnixStream) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    peer.is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

fn address(step: &str) -> std::io::Result<SocketAddr> {
    let user = rustix::process::geteuid().as_raw();
    SocketAddr::from_abstract_name(format!("faasm-run/{user}/{step}"))
}

/// How often the others look for the first task, and it for them.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a task may start after the first one has done everything.
const LATE_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_live_as_long_as_the_first() {
        let step = format!("test-{}.0", std::process::id());
        let leader = Leader::announce(&step, 1).expect("the name is free");
        assert!(Leader::announce(&step, 1).is_err(), "there is one leader");
        let (ended, end) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn({
            let step = step.clone();
            move || {
                let result = wait_for_leader(&step, Duration::from_secs(60));
                ended.send(()).expect("the test listens");
                result
            }
        });
        assert!(end.recv_timeout(Duration::from_millis(200)).is_err(), "it waits");
        drop(leader);
        // One that comes late is waited for.
        let leader = Leader::announce(&step, 1).expect("the name is free again");
        let ends = std::thread::spawn(move || drop(leader));
        wait_for_leader(&step, Duration::from_secs(60)).expect("the leader is still there");
        ends.join().expect("no panic");
        waiter.join().expect("no panic").expect("the leader was there");
    }

    #[test]
    fn without_a_first_task_it_is_an_error() {
        let step = format!("absent-{}.0", std::process::id());
        let error =
            wait_for_leader(&step, Duration::ZERO).expect_err("nobody is there").to_string();
        assert!(error.contains(&step) && error.contains("without srun"), "{error}");
    }
}
