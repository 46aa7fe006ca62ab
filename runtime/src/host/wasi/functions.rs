//! Every function of `wasi_snapshot_preview1`, declared once.
//!
//! From the table come the registration in the linker, the list of names and the trace of calls.
//! `now` functions return at once; `wait` functions may suspend the guest's fiber, `own` ones too, and
//! use the calling thread's interface even where threads share one; `stop` functions may end the guest. Parameters are those of the standard, a pointer and length by their own names.

use faasm_vm::{GuestAddr, GuestMemory};
use wasmtime::{Caller, Linker};

use super::ctx::WasiCtx;
use super::descriptor::{self, NewTimes};
use super::errno::Errno;
use super::iovec::Iovecs;
use super::open::{self, OpenArgs};
use super::path::{self, GuestPath, NameAt};
use super::process::{self, ProcExit, Yield};
use super::table::Fd;
use super::{clock, dir, file, poll};

/// Name under which guests import these functions.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// Gives the system functions what they work on.
pub(crate) trait WasiView: Send + 'static {
    /// The rank's system interface and its memory.
    fn wasi(&mut self) -> (&mut WasiCtx, &GuestMemory);
}

/// A parameter, made of the wasm value that carries it.
trait Parameter {
    type Wasm: wasmtime::WasmTy;

    fn from_wasm(value: Self::Wasm) -> Self;
}

/// Declares how parameters come out of wasm values.
macro_rules! parameters {
    ($($ty:ty: $wasm:ty = $from:expr,)*) => { $(
        impl Parameter for $ty {
            type Wasm = $wasm;

            fn from_wasm(value: $wasm) -> Self {
                $from(value)
            }
        }
    )* };
}

parameters! {
    u32: u32 = std::convert::identity,
    u64: u64 = std::convert::identity,
    i64: i64 = std::convert::identity,
    Fd: u32 = Fd,
    GuestAddr: u32 = GuestAddr::from,
}

/// What the guest gets: the error number, 0 for success.
fn status(function: &'static str, result: Result<(), Errno>) -> i32 {
    tracing::trace!(target: "faasm::wasi", function, ?result);
    result.map_or_else(|errno| i32::from(errno.raw()), |()| 0)
}

/// Declares the functions. See the module's documentation.
macro_rules! functions {
    ($($kind:ident $name:ident($($arg:ident: $ty:ty),* $(,)?) => |$ctx:ident, $memory:ident| $body:expr;)*) => {
        /// The names of all functions.
        pub(crate) const FUNCTIONS: &[&str] = &[$(stringify!($name)),*];

        /// Offers every function of preview1 to the guests of `linker`.
        ///
        /// # Errors
        /// When the linker has one of the names already.
        pub(crate) fn add_to_linker<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
            $(functions!(@$kind linker $name($($arg: $ty),*) |$ctx, $memory| $body);)*
            Ok(())
        }
    };
    (@now $linker:ident $name:ident($($arg:ident: $ty:ty),*) |$ctx:ident, $memory:ident| $body:expr) => {
        $linker.func_wrap(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, T>, $($arg: <$ty as Parameter>::Wasm),*| -> i32 {
                $(let $arg = <$ty as Parameter>::from_wasm($arg);)*
                let (ctx, memory) = caller.data_mut().wasi();
                #[allow(unused_variables, reason = "not every function uses both")]
                let body = |$ctx: &mut WasiCtx, $memory: &GuestMemory| -> Result<(), Errno> { $body };
                let result = match ctx.shared.clone() {
                    None => body(ctx, memory),
                    Some(shared) => shared.now(|ctx| body(ctx, memory)),
                };
                status(stringify!($name), result)
            },
        )?
    };
    (@wait $linker:ident $name:ident($($arg:ident: $ty:ty),*) |$ctx:ident, $memory:ident| $body:expr) => {
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, T>, ($($arg,)*): ($(<$ty as Parameter>::Wasm,)*)| {
                Box::new(async move {
                    let (ctx, $memory) = caller.data_mut().wasi();
                    let result = match ctx.shared.clone() {
                        None => {
                            let $ctx = ctx;
                            $(let $arg = <$ty as Parameter>::from_wasm($arg);)*
                            let call = async { let result: Result<(), Errno> = $body; result };
                            call.await
                        }
                        Some(shared) => {
                            let call = async |$ctx: &mut WasiCtx| -> Result<(), Errno> {
                                $(let $arg = <$ty as Parameter>::from_wasm($arg);)*
                                $body
                            };
                            shared.wait(ctx, call).await
                        }
                    };
                    status(stringify!($name), result)
                })
            },
        )?
    };
    (@own $linker:ident $name:ident($($arg:ident: $ty:ty),*) |$ctx:ident, $memory:ident| $body:expr) => {
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, T>, ($($arg,)*): ($(<$ty as Parameter>::Wasm,)*)| {
                Box::new(async move {
                    $(let $arg = <$ty as Parameter>::from_wasm($arg);)*
                    #[allow(unused_variables, reason = "not every function uses both")]
                    let ($ctx, $memory) = caller.data_mut().wasi();
                    let call = async { let result: Result<(), Errno> = $body; result };
                    status(stringify!($name), call.await)
                })
            },
        )?
    };
    (@stop $linker:ident $name:ident($($arg:ident: $ty:ty),*) |$ctx:ident, $memory:ident| $body:expr) => {
        $linker.func_wrap(
            MODULE,
            stringify!($name),
            |_: Caller<'_, T>, $($arg: <$ty as Parameter>::Wasm),*| {
                $(let $arg = <$ty as Parameter>::from_wasm($arg);)*
                tracing::trace!(target: "faasm::wasi", function = stringify!($name), $($arg),*);
                $body
            },
        )?
    };
}

functions! {
    now args_get(argv: GuestAddr, argv_buf: GuestAddr) => |ctx, memory|
        process::args(ctx).write(memory, argv, argv_buf);
    now args_sizes_get(count: GuestAddr, bytes: GuestAddr) => |ctx, memory|
        write_pair(memory, (count, bytes), process::args(ctx).sizes()?);
    now environ_get(environ: GuestAddr, environ_buf: GuestAddr) => |ctx, memory|
        process::environ(ctx).write(memory, environ, environ_buf);
    now environ_sizes_get(count: GuestAddr, bytes: GuestAddr) => |ctx, memory|
        write_pair(memory, (count, bytes), process::environ(ctx).sizes()?);
    now clock_res_get(clock: u32, out: GuestAddr) => |ctx, memory|
        Ok(memory.write_u64(out, clock::resolution_ns(clock)?)?);
    now clock_time_get(clock: u32, _precision: u64, out: GuestAddr) => |ctx, memory|
        Ok(memory.write_u64(out, clock::time_ns(ctx, clock)?)?);
    now fd_advise(fd: Fd, offset: u64, len: u64, advice: u32) => |ctx, memory|
        file::advise(ctx, fd, offset, len, advice);
    now fd_allocate(fd: Fd, offset: u64, len: u64) => |ctx, memory|
        file::allocate(ctx, fd, offset, len);
    now fd_close(fd: Fd) => |ctx, memory|
        descriptor::close(ctx, fd);
    now fd_datasync(fd: Fd) => |ctx, memory|
        file::sync(ctx, fd, true);
    now fd_fdstat_get(fd: Fd, out: GuestAddr) => |ctx, memory|
        Ok(memory.write(out, &descriptor::fdstat(ctx, fd)?)?);
    now fd_fdstat_set_flags(fd: Fd, flags: u32) => |ctx, memory|
        descriptor::set_flags(ctx, fd, flags);
    now fd_fdstat_set_rights(fd: Fd, base: u64, inheriting: u64) => |ctx, memory|
        descriptor::set_rights(ctx, fd, base, inheriting);
    now fd_filestat_get(fd: Fd, out: GuestAddr) => |ctx, memory|
        Ok(memory.write(out, &descriptor::filestat(ctx, fd)?.encode())?);
    now fd_filestat_set_size(fd: Fd, size: u64) => |ctx, memory|
        file::set_size(ctx, fd, size);
    now fd_filestat_set_times(fd: Fd, atim: u64, mtim: u64, flags: u32) => |ctx, memory|
        descriptor::set_times(ctx, fd, NewTimes::decode(atim, mtim, flags)?);
    now fd_pread(fd: Fd, iovs: GuestAddr, iovs_len: u32, offset: u64, out: GuestAddr) => |ctx, memory| {
        let read = file::pread(ctx, memory, fd, Iovecs { addr: iovs, count: iovs_len }, offset)?;
        Ok(memory.write_u32(out, read)?)
    };
    now fd_prestat_get(fd: Fd, out: GuestAddr) => |ctx, memory|
        Ok(memory.write(out, &descriptor::prestat(ctx, fd)?)?);
    now fd_prestat_dir_name(fd: Fd, name: GuestAddr, name_len: u32) => |ctx, memory|
        descriptor::prestat_name(ctx, memory, fd, name, name_len);
    now fd_pwrite(fd: Fd, iovs: GuestAddr, iovs_len: u32, offset: u64, out: GuestAddr) => |ctx, memory| {
        let written = file::pwrite(ctx, memory, fd, Iovecs { addr: iovs, count: iovs_len }, offset)?;
        Ok(memory.write_u32(out, written)?)
    };
    wait fd_read(fd: Fd, iovs: GuestAddr, iovs_len: u32, out: GuestAddr) => |ctx, memory| {
        memory.check(out, 4)?;
        let read = file::read(ctx, memory, fd, Iovecs { addr: iovs, count: iovs_len }).await?;
        Ok(memory.write_u32(out, read)?)
    };
    now fd_readdir(fd: Fd, buf: GuestAddr, buf_len: u32, cookie: u64, out: GuestAddr) => |ctx, memory|
        Ok(memory.write_u32(out, dir::readdir(ctx, memory, fd, (buf, buf_len), cookie)?)?);
    now fd_renumber(fd: Fd, to: Fd) => |ctx, memory|
        descriptor::renumber(ctx, fd, to);
    now fd_seek(fd: Fd, offset: i64, whence: u32, out: GuestAddr) => |ctx, memory|
        Ok(memory.write_u64(out, file::seek(ctx, fd, offset, whence)?)?);
    now fd_sync(fd: Fd) => |ctx, memory|
        file::sync(ctx, fd, false);
    now fd_tell(fd: Fd, out: GuestAddr) => |ctx, memory|
        Ok(memory.write_u64(out, file::tell(ctx, fd)?)?);
    wait fd_write(fd: Fd, iovs: GuestAddr, iovs_len: u32, out: GuestAddr) => |ctx, memory| {
        memory.check(out, 4)?;
        let written = file::write(ctx, memory, fd, Iovecs { addr: iovs, count: iovs_len }).await?;
        Ok(memory.write_u32(out, written)?)
    };
    now path_create_directory(fd: Fd, path: GuestAddr, path_len: u32) => |ctx, memory|
        path::create_directory(ctx, fd, &text(memory, path, path_len)?);
    now path_filestat_get(fd: Fd, flags: u32, path: GuestAddr, path_len: u32, out: GuestAddr) => |ctx, memory| {
        let stat = path::filestat(ctx, fd, flags, &text(memory, path, path_len)?)?;
        Ok(memory.write(out, &stat.encode())?)
    };
    now path_filestat_set_times(
        fd: Fd, flags: u32, path: GuestAddr, path_len: u32, atim: u64, mtim: u64, which: u32,
    ) => |ctx, memory| {
        let times = NewTimes::decode(atim, mtim, which)?;
        path::set_times(ctx, fd, flags, &text(memory, path, path_len)?, times)
    };
    now path_link(
        old_fd: Fd, old_flags: u32, old: GuestAddr, old_len: u32,
        new_fd: Fd, new: GuestAddr, new_len: u32,
    ) => |ctx, memory| {
        let (old, new) = (text(memory, old, old_len)?, text(memory, new, new_len)?);
        path::link(ctx, old_flags, NameAt { fd: old_fd, path: &old }, NameAt { fd: new_fd, path: &new })
    };
    wait path_open(
        fd: Fd, lookup: u32, path: GuestAddr, path_len: u32,
        oflags: u32, rights: u64, inheriting: u64, flags: u32, out: GuestAddr,
    ) => |ctx, memory| {
        memory.check(out, 4)?;
        let args = OpenArgs::decode(lookup, oflags, (rights, inheriting), flags)?;
        let path = text(memory, path, path_len)?;
        let opened = open::path_open(ctx, fd, &path, args).await?;
        Ok(memory.write_u32(out, opened.0)?)
    };
    now path_readlink(
        fd: Fd, path: GuestAddr, path_len: u32, buf: GuestAddr, buf_len: u32, out: GuestAddr,
    ) => |ctx, memory| {
        let path = text(memory, path, path_len)?;
        Ok(memory.write_u32(out, path::readlink(ctx, memory, fd, &path, (buf, buf_len))?)?)
    };
    now path_remove_directory(fd: Fd, path: GuestAddr, path_len: u32) => |ctx, memory|
        path::remove_directory(ctx, fd, &text(memory, path, path_len)?);
    now path_rename(
        old_fd: Fd, old: GuestAddr, old_len: u32, new_fd: Fd, new: GuestAddr, new_len: u32,
    ) => |ctx, memory| {
        let (old, new) = (text(memory, old, old_len)?, text(memory, new, new_len)?);
        path::rename(ctx, NameAt { fd: old_fd, path: &old }, NameAt { fd: new_fd, path: &new })
    };
    now path_symlink(
        target: GuestAddr, target_len: u32, fd: Fd, path: GuestAddr, path_len: u32,
    ) => |ctx, memory| {
        let (target, path) = (text(memory, target, target_len)?, text(memory, path, path_len)?);
        path::symlink(ctx, &target, fd, &path)
    };
    now path_unlink_file(fd: Fd, path: GuestAddr, path_len: u32) => |ctx, memory|
        path::unlink_file(ctx, fd, &text(memory, path, path_len)?);
    own poll_oneoff(input: GuestAddr, output: GuestAddr, count: u32, out: GuestAddr) => |ctx, memory| {
        memory.check(out, 4)?;
        let events = poll::poll_oneoff(ctx, memory, input, output, count).await?;
        Ok(memory.write_u32(out, events)?)
    };
    stop proc_exit(code: u32) => |ctx, memory|
        Err::<(), _>(wasmtime::Error::new(ProcExit(code.cast_signed())));
    stop proc_raise(signal: u32) => |ctx, memory|
        process::raise(signal).map(|result| status("proc_raise", result)).map_err(wasmtime::Error::new);
    own sched_yield() => |ctx, memory| {
        Yield::default().await;
        Ok(())
    };
    now random_get(buf: GuestAddr, buf_len: u32) => |ctx, memory|
        process::random(memory, buf, buf_len);
    now sock_accept(fd: Fd, _flags: u32, _out: GuestAddr) => |ctx, memory|
        process::not_a_socket(ctx, fd);
    now sock_recv(
        fd: Fd, _iovs: GuestAddr, _iovs_len: u32, _flags: u32, _out: GuestAddr, _out_flags: GuestAddr,
    ) => |ctx, memory| process::not_a_socket(ctx, fd);
    now sock_send(fd: Fd, _iovs: GuestAddr, _iovs_len: u32, _flags: u32, _out: GuestAddr) => |ctx, memory|
        process::not_a_socket(ctx, fd);
    now sock_shutdown(fd: Fd, _how: u32) => |ctx, memory|
        process::not_a_socket(ctx, fd);
}

/// The path at `addr`.
fn text(memory: &GuestMemory, addr: GuestAddr, len: u32) -> Result<String, Errno> {
    GuestPath { addr, len }.read(memory)
}

fn write_pair(
    memory: &GuestMemory,
    (first, second): (GuestAddr, GuestAddr),
    values: (u32, u32),
) -> Result<(), Errno> {
    memory.write_u32(first, values.0)?;
    Ok(memory.write_u32(second, values.1)?)
}

#[cfg(test)]
#[path = "functions_tests.rs"]
mod tests;
