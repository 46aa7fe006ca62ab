//! `poll_oneoff`: waits for times, standard input, pipes and devices, in any mixture.

use std::future::pending;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use faasm_vm::{GuestAddr, GuestMemory};

use super::clock;
use super::ctx::{WasiCtx, WasiWait};
use super::errno::Errno;
use super::process::Yield;
use super::ready::{self, Interest};
use super::rights::Rights;
use super::stream::StdinReady;
use super::table::{Fd, Object};
use super::types::{Event, SubscribedEvent, Subscription};

/// Subscriptions of one call.
const SUBSCRIPTIONS_MAX: u32 = 4096;

/// Waits up to this long are yields in a loop: the timer of the runtime ticks in milliseconds.
const SPIN_MAX: Duration = Duration::from_micros(100);

/// `poll_oneoff`: waits until at least one of `count` subscriptions at `input` has happened and
/// writes the events to `output`; gives their number.
pub(crate) async fn poll_oneoff(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    input: GuestAddr,
    output: GuestAddr,
    count: u32,
) -> Result<u32, Errno> {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::Inval);
    }
    memory.check(output, u64::from(count) * Event::SIZE as u64)?;
    let subscriptions = read_subscriptions(ctx, memory, input, count)?;
    let mut events = happened(ctx, &subscriptions);
    if events.iter().any(|event| event.kind == 0) {
        // A guest that asks in a loop with a time that is over lets the others run.
        Yield::default().await;
    }
    while events.is_empty() {
        wait(ctx, &subscriptions).await?;
        events = happened(ctx, &subscriptions);
    }
    let mut at = output;
    for event in &events {
        memory.write(at, &event.encode())?;
        at = at.checked_add(Event::SIZE as u64).ok_or(Errno::Fault)?;
    }
    u32::try_from(events.len()).map_err(|_| Errno::Overflow)
}

/// A subscription, its timer started.
#[derive(Debug)]
struct Subscribed {
    userdata: u64,
    on: On,
}

#[derive(Debug)]
enum On {
    /// `None` is a time too far away to be told.
    Time(Result<Option<Instant>, Errno>),
    Descriptor {
        fd: Fd,
        write: bool,
    },
    Unknown {
        tag: u8,
    },
}

impl Subscribed {
    fn start(ctx: &WasiCtx, subscription: Subscription) -> Self {
        let on = match subscription.event {
            SubscribedEvent::Clock { clock, timeout_ns, absolute } => {
                let left = clock::remaining(ctx, clock, timeout_ns, absolute);
                On::Time(left.map(|left| Instant::now().checked_add(left)))
            }
            SubscribedEvent::Read { fd } => On::Descriptor { fd: Fd(fd), write: false },
            SubscribedEvent::Write { fd } => On::Descriptor { fd: Fd(fd), write: true },
            SubscribedEvent::Unknown { tag } => On::Unknown { tag },
        };
        Self { userdata: subscription.userdata, on }
    }

    fn deadline(&self) -> Option<Instant> {
        if let On::Time(Ok(at)) = self.on { at } else { None }
    }

    /// The event if it has happened; errors are events too.
    fn event(&self, ctx: &mut WasiCtx) -> Option<Event> {
        let event = |kind, result: Result<Readiness, Errno>| {
            let Readiness { bytes, hangup } = result.unwrap_or_default();
            Event { userdata: self.userdata, error: result.err(), kind, bytes, hangup }
        };
        match self.on {
            On::Time(Err(error)) => Some(event(0, Err(error))),
            On::Time(Ok(None)) => None,
            On::Time(Ok(Some(at))) => {
                (at <= Instant::now()).then(|| event(0, Ok(Readiness::default())))
            }
            On::Descriptor { fd, write } => {
                let ready = readiness(ctx, fd, write).transpose()?;
                Some(event(1 + u8::from(write), ready))
            }
            On::Unknown { tag } => Some(event(tag, Err(Errno::Inval))),
        }
    }
}

/// What a descriptor that is ready has to say.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
struct Readiness {
    bytes: u64,
    hangup: bool,
}

fn read_subscriptions(
    ctx: &WasiCtx,
    memory: &GuestMemory,
    input: GuestAddr,
    count: u32,
) -> Result<Vec<Subscribed>, Errno> {
    let len = u64::from(count) * Subscription::SIZE as u64;
    let bytes = memory.read_vec(input, len)?;
    let (structures, _) = bytes.as_chunks();
    let start = |bytes| Subscribed::start(ctx, Subscription::decode(bytes));
    Ok(structures.iter().map(start).collect())
}

fn happened(ctx: &mut WasiCtx, subscriptions: &[Subscribed]) -> Vec<Event> {
    subscriptions.iter().filter_map(|subscribed| subscribed.event(ctx)).collect()
}

/// Whether `fd` can be used without waiting; `None` when it cannot yet.
fn readiness(ctx: &mut WasiCtx, fd: Fd, write: bool) -> Result<Option<Readiness>, Errno> {
    match &ctx.files.get_mut(fd, Rights::POLL_FD_READWRITE)?.object {
        Object::Stdin if !write => Ok(match ctx.stdin.ready()? {
            StdinReady::Bytes(bytes) => Some(Readiness { bytes, hangup: false }),
            StdinReady::End => Some(Readiness { bytes: 0, hangup: true }),
            StdinReady::Empty => None,
        }),
        Object::Stdout | Object::Stderr if write => Ok(Some(Readiness::default())),
        Object::File(file) if file.is_seekable() => {
            let left = file.file.metadata()?.len().saturating_sub(file.offset);
            Ok(Some(Readiness { bytes: if write { 0 } else { left }, hangup: false }))
        }
        Object::File(file) => {
            Ok(ready::is_ready(&file.file, write)?.then_some(Readiness { bytes: 1, hangup: false }))
        }
        Object::Stdin | Object::Stdout | Object::Stderr | Object::Directory(_) => Err(Errno::Badf),
    }
}

/// Waits until something may have happened.
async fn wait(ctx: &mut WasiCtx, subscriptions: &[Subscribed]) -> Result<(), Errno> {
    let deadline = subscriptions.iter().filter_map(Subscribed::deadline).min();
    let (on_stdin, interests) = descriptors(ctx, subscriptions)?;
    let on_pipes = !interests.is_empty();
    let _waiting = ctx.waiting(match (on_stdin, on_pipes) {
        (true, _) => WasiWait::Stdin,
        (false, true) => WasiWait::Descriptor,
        (false, false) => WasiWait::Clock,
    });
    tokio::select! {
        biased;
        () = ctx.stdin.readable(), if on_stdin => Ok(()),
        result = ready::any_ready(interests), if on_pipes => result,
        () = sleep_until(deadline) => Ok(()),
    }
}

/// Whether standard input is waited for, and the descriptors of the host that are.
fn descriptors(
    ctx: &WasiCtx,
    subscriptions: &[Subscribed],
) -> Result<(bool, Vec<Interest>), Errno> {
    let (mut on_stdin, mut interests) = (false, Vec::new());
    for subscribed in subscriptions {
        let On::Descriptor { fd, write } = subscribed.on else { continue };
        match &ctx.files.get(fd)?.object {
            Object::Stdin => on_stdin = true,
            Object::File(file) => {
                interests.push(Interest { fd: file.file.as_fd().try_clone_to_owned()?, write });
            }
            Object::Stdout | Object::Stderr | Object::Directory(_) => {}
        }
    }
    Ok((on_stdin, interests))
}

/// Waits until `deadline`, for ever without one.
async fn sleep_until(deadline: Option<Instant>) {
    let Some(deadline) = deadline else { return pending().await };
    if deadline.saturating_duration_since(Instant::now()) <= SPIN_MAX {
        while Instant::now() < deadline {
            Yield::default().await;
        }
        return;
    }
    tokio::time::sleep_until(deadline.into()).await;
}

#[cfg(test)]
#[path = "poll_tests.rs"]
mod tests;
