//! The process as its guest sees it: arguments, environment, random bytes, exit, signals, yielding.

use std::pin::Pin;
use std::task::{Context, Poll};

use faasm_vm::{GuestAddr, GuestMemory};
use rustix::rand::GetRandomFlags;

use super::ctx::WasiCtx;
use super::errno::Errno;
use super::iovec::{CHUNK_BYTES, with_scratch};
use super::table::Fd;

/// The guest called `exit`; the error that unwinds its stack, found by downcasting.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("exit with status {0}")]
pub(crate) struct ProcExit(pub(crate) i32);

/// The guest raised a signal that ends it; the error that unwinds its stack.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("terminated by {}", signal_name(*.0))]
pub(crate) struct ProcRaised(
    /// Number of the signal in WASI, which is Linux's for those that end a program.
    pub(crate) u8,
);

/// Names of the signals of preview1, by number.
const SIGNALS: [&str; 31] = [
    "no signal",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGPOLL",
    "SIGPWR",
    "SIGSYS",
];

fn signal_name(signal: u8) -> &'static str {
    SIGNALS.get(usize::from(signal)).copied().unwrap_or("an unknown signal")
}

/// `proc_raise`: ends the guest for signals that end a process by default; `Ok` for those that are
/// ignored by default. Nothing could continue a stopped rank, so stopping is not supported.
pub(crate) fn raise(signal: u32) -> Result<Result<(), Errno>, ProcRaised> {
    match signal {
        // None, SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
        0 | 16 | 17 | 22 | 27 => Ok(Ok(())),
        // SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
        18..=21 => Ok(Err(Errno::Notsup)),
        signal => match u8::try_from(signal) {
            Ok(signal) if usize::from(signal) < SIGNALS.len() => Err(ProcRaised(signal)),
            _ => Ok(Err(Errno::Inval)),
        },
    }
}

/// Strings as C wants them: an array of pointers and the bytes, each string ended by a zero.
pub(crate) struct StringTable<I>(pub(crate) I);

impl<'a, I: Iterator<Item = [&'a str; 3]> + Clone> StringTable<I> {
    /// `*_sizes_get`: number of strings and of bytes.
    pub(crate) fn sizes(&self) -> Result<(u32, u32), Errno> {
        let (mut count, mut bytes) = (0_u32, 0_usize);
        for parts in self.0.clone() {
            count += 1;
            bytes += parts.iter().map(|part| part.len()).sum::<usize>() + 1;
        }
        Ok((count, u32::try_from(bytes).map_err(|_| Errno::Overflow)?))
    }

    /// `*_get`: writes pointers at `pointers` and bytes at `bytes`.
    pub(crate) fn write(
        &self,
        memory: &GuestMemory,
        pointers: GuestAddr,
        bytes: GuestAddr,
    ) -> Result<(), Errno> {
        let (mut pointer, mut at) = (pointers, bytes);
        for parts in self.0.clone() {
            let address = u32::try_from(at.get()).map_err(|_| Errno::Fault)?;
            memory.write_u32(pointer, address)?;
            pointer = pointer.checked_add(4).ok_or(Errno::Fault)?;
            for part in parts {
                memory.write(at, part.as_bytes())?;
                at = at.checked_add(part.len() as u64).ok_or(Errno::Fault)?;
            }
            memory.write_u8(at, 0)?;
            at = at.checked_add(1).ok_or(Errno::Fault)?;
        }
        Ok(())
    }
}

/// The program's arguments.
pub(crate) fn args(ctx: &WasiCtx) -> StringTable<impl Iterator<Item = [&str; 3]> + Clone> {
    StringTable(ctx.args.iter().map(|arg| [arg.as_str(), "", ""]))
}

/// The program's environment.
pub(crate) fn environ(ctx: &WasiCtx) -> StringTable<impl Iterator<Item = [&str; 3]> + Clone> {
    StringTable(ctx.env.iter().map(|(key, value)| [key, "=", value]))
}

/// `random_get`.
pub(crate) fn random(memory: &GuestMemory, out: GuestAddr, len: u32) -> Result<(), Errno> {
    memory.check(out, u64::from(len))?;
    let mut done = 0_u64;
    with_scratch(CHUNK_BYTES.min(len as usize), |buffer| {
        while done < u64::from(len) {
            let asked = buffer.len().min((u64::from(len) - done) as usize);
            let got = rustix::rand::getrandom(&mut buffer[..asked], GetRandomFlags::empty());
            let got = match got {
                Err(rustix::io::Errno::INTR) => continue,
                got => got?,
            };
            memory.write(out.checked_add(done).ok_or(Errno::Fault)?, &buffer[..got])?;
            done += got as u64;
        }
        Ok(())
    })
}

/// `sock_*`: no descriptor is a socket.
pub(crate) fn not_a_socket(ctx: &WasiCtx, fd: Fd) -> Result<(), Errno> {
    ctx.files.get(fd)?;
    Err(Errno::Notsock)
}

/// `sched_yield`: suspends the fiber once, behind the others that can run.
#[derive(Debug, Default)]
pub(crate) struct Yield {
    yielded: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    #[test]
    fn arguments_and_environment_are_c_strings() {
        let args: Arc<[String]> = ["prog", "", "x y"].map(str::to_owned).into();
        let ctx = WasiCtx::builder().args(args).env("K", "v").build().expect("plain strings");
        let memory = GuestMemory::for_test(4096);
        assert_eq!(args_sizes(&ctx), (3, 10));
        super::args(&ctx).write(&memory, 0_u32.into(), 100_u32.into()).expect("in bounds");
        assert_eq!(memory.read_vec(100_u32.into(), 10).expect("in bounds"), b"prog\0\0x y\0");
        let pointers = [0_u32, 4, 8].map(|at| memory.read_u32(at.into()).expect("in bounds"));
        assert_eq!(pointers, [100, 105, 106]);
        environ(&ctx).write(&memory, 0_u32.into(), 200_u32.into()).expect("in bounds");
        assert_eq!(memory.read_vec(200_u32.into(), 4).expect("in bounds"), b"K=v\0");
        let outside = environ(&ctx).write(&memory, 4094_u32.into(), 200_u32.into());
        assert_eq!(outside, Err(Errno::Fault));
    }

    fn args_sizes(ctx: &WasiCtx) -> (u32, u32) {
        args(ctx).sizes().expect("they are small")
    }

    #[test]
    fn random_bytes_fill_exactly_their_buffer() {
        let memory = GuestMemory::for_test(200_000);
        random(&memory, 10_u32.into(), 150_000).expect("in bounds");
        let bytes = memory.read_vec(0_u32.into(), 200_000).expect("in bounds");
        assert_eq!(bytes[..10], [0; 10]);
        assert_eq!(bytes[150_010..150_020], [0; 10]);
        let zeros = bytes[10..150_010].iter().filter(|byte| **byte == 0).count();
        assert!((300..1200).contains(&zeros), "{zeros} zeros of about 586");
        assert_eq!(random(&memory, 199_999_u32.into(), 2), Err(Errno::Fault));
    }

    #[test]
    fn signals_end_are_ignored_or_are_refused() {
        assert_eq!(raise(6), Err(ProcRaised(6)));
        assert_eq!(ProcRaised(6).to_string(), "terminated by SIGABRT");
        assert_eq!(raise(16), Ok(Ok(())));
        assert_eq!(raise(18), Ok(Err(Errno::Notsup)));
        assert_eq!(raise(31), Ok(Err(Errno::Inval)));
    }

    #[test]
    fn a_yield_is_pending_once() {
        let mut future = pin!(Yield::default());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(()));
    }
}
