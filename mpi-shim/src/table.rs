//! The list of host functions, declared once per chapter by `host_functions!`.
//!
//! From one declaration come the registration under `MPI_x` and `PMPI_x`, the name in reports, and
//! the list that tests compare with `mpi.h`.

use faasm_vm::GuestAddr;

/// Marks the functions of plain names, whose counts are C integers.
#[derive(Copy, Clone, Debug)]
pub struct Plain;

/// Marks the functions of names in `_c` (and `_x`), whose counts are `MPI_Count`. MPI-5.0 section 2.5.8.
#[derive(Copy, Clone, Debug)]
pub struct Large;

/// Which of two twins a function is.
pub trait Width {
    /// Whether its counts are `MPI_Count`.
    const LARGE: bool;
}

impl Width for Plain {
    const LARGE: bool = false;
}

impl Width for Large {
    const LARGE: bool = true;
}

/// A C argument as wasm passes it to a function of the width `W`.
pub trait Argument<W> {
    /// The wasm type.
    type Wasm: wasmtime::WasmTy + Send;
    /// What the implementation takes, whatever the width.
    type Value;

    /// The argument from its wasm value.
    fn from_wasm(value: Self::Wasm) -> Self::Value;
}

/// A number passed by value: `int` (or `MPI_Aint`) in one twin, `MPI_Count` in the other. Numbers that
/// are passed by address are read and written as wide as [`Call::large`](crate::call::Call::large) tells.
#[derive(Copy, Clone, Debug)]
pub struct Count;

impl Argument<Plain> for Count {
    type Value = i64;
    type Wasm = i32;

    #[inline]
    fn from_wasm(value: i32) -> i64 {
        i64::from(value)
    }
}

impl Argument<Large> for Count {
    type Value = i64;
    type Wasm = i64;

    #[inline]
    fn from_wasm(value: i64) -> i64 {
        value
    }
}

impl<W> Argument<W> for i32 {
    type Value = Self;
    type Wasm = Self;

    #[inline]
    fn from_wasm(value: Self) -> Self {
        value
    }
}

impl<W> Argument<W> for i64 {
    type Value = Self;
    type Wasm = Self;

    #[inline]
    fn from_wasm(value: Self) -> Self {
        value
    }
}

impl<W> Argument<W> for GuestAddr {
    type Value = Self;
    type Wasm = i32;

    #[inline]
    fn from_wasm(value: i32) -> Self {
        Self::from(value)
    }
}

/// One host function, for coverage lists and header tests.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct FunctionInfo {
    /// Name in C.
    pub name: &'static str,
    /// Whether a [`Count`] among its parameters is an `MPI_Count`.
    pub large: bool,
    /// Whether the guest library may call it at once, see [`AT_ONCE_PREFIX`].
    pub at_once: bool,
    /// Names and Rust types of its parameters.
    pub parameters: &'static [(&'static str, &'static str)],
}

/// What the import names begin with of those functions that the guest library calls first, and that do not wait: they return
/// -1 where they would, and have done nothing that calling `MPI_x` does not do.
pub const AT_ONCE_PREFIX: &str = "at_once.";

/// A linker for one program, which takes only the functions that the program imports: registering all
/// of them would take longer than everything else at the start of a job.
pub(crate) struct Imports<'a, T: 'static> {
    pub(crate) linker: &'a mut wasmtime::Linker<T>,
    pub(crate) wanted: &'a dyn Fn(&str) -> bool,
}

impl<T: Send + 'static> Imports<'_, T> {
    /// As [`wasmtime::Linker::func_wrap`].
    pub(crate) fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        function: impl wasmtime::IntoFunc<T, Params, Results>,
    ) -> wasmtime::Result<()> {
        if (self.wanted)(name) {
            self.linker.func_wrap(module, name, function)?;
        }
        Ok(())
    }

    /// As [`wasmtime::Linker::func_wrap_async`].
    pub(crate) fn func_wrap_async<F, Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        function: F,
    ) -> wasmtime::Result<()>
    where
        F: for<'a> Fn(
                wasmtime::Caller<'a, T>,
                Params,
            ) -> Box<dyn Future<Output = Results> + Send + 'a>
            + Send
            + Sync
            + 'static,
        Params: wasmtime::WasmTyList + 'static,
        Results: wasmtime::WasmRet + 'static,
    {
        if (self.wanted)(name) {
            self.linker.func_wrap_async(module, name, function)?;
        }
        Ok(())
    }
}

/// Declares the host functions of one chapter.
///
/// `MPI_Name(a: Type, ..) = path;` names an `async fn(&mut Call<'_, T>, Type, ..) -> Result<()>`
/// whose error goes to the communicator's error handler. With `ending` before the name the function
/// returns `wasmtime::Result<Result<()>>`, so that it can also end the program, and may be called before
/// `MPI_Init`; with `calling` it returns `Result<(), Failure>` for the first of the two; `real` and
/// `aint` name a plain function that cannot fail and returns an `f64` or an `i32`; `tool` names a
/// plain function whose error code goes to the caller without an error handler.
///
/// `MPI_Name or MPI_Name_c(count: Count) = path;` declares twins, of which the second takes large
/// counts; the implementation is the same.
///
/// With `, at_once` behind the path the function, and not its large twin, is also offered as one that does not wait
/// (see `call/at_once.rs`). `, at_once quick` names a plain function that does the usual cases of it, and gives
/// `None`, having done nothing, where the others have to do it.
macro_rules! host_functions {
    ($(
        $(#[doc = $doc:literal])*
        $kind:ident fn $name:ident $(or $large:ident)* ($($arg:ident: $ty:ty),* $(,)?) = $path:path $(, $($haste:ident)+)?;
    )*) => {
        $crate::table::host_functions! {
            @rows $($kind $name [$($large)*] ($($arg: $ty),*) $path, [$($($haste)+)?];)*
        }
    };
    (@rows $($kind:ident $name:ident [$($large:ident)*] $args:tt $path:path, $haste:tt;)*) => {
        /// The functions of this chapter.
        pub(in crate::host) const FUNCTIONS: &[$crate::table::FunctionInfo] = &[$(
            $crate::table::function_info!(Plain, $name $args $haste),
            $($crate::table::function_info!(Large, $large $args []),)*
        )*];

        /// Registers the functions of this chapter.
        pub(crate) fn add_to_linker<T: $crate::call::MpiView>(
            linker: &mut $crate::table::Imports<'_, T>,
        ) -> wasmtime::Result<()> {
            $(
                $crate::table::host_function!(linker, $kind $haste, Plain, $name $args = $path);
                $($crate::table::host_function!(linker, $kind [], Large, $large $args = $path);)*
            )*
            Ok(())
        }
    };
}

/// Describes one host function; see [`host_functions!`].
macro_rules! function_info {
    ($width:ident, $name:ident($($arg:ident: $ty:ty),* $(,)?) [$($haste:ident)*]) => {
        $crate::table::FunctionInfo {
            name: stringify!($name),
            large: <$crate::table::$width as $crate::table::Width>::LARGE,
            at_once: !stringify!($($haste)*).is_empty(),
            parameters: &[$((stringify!($arg), stringify!($ty))),*],
        }
    };
}

/// Registers one host function; see [`host_functions!`].
macro_rules! host_function {
    ($linker:ident, call $haste:tt, $width:ident, $name:ident($($arg:ident: $ty:ty),* $(,)?) = $path:path) => {
        $crate::table::host_function!($linker, waiting $haste, $width, $name($($arg: $ty),*), |call| {
            match call.require_running() {
                Ok(()) => $path(
                    call,
                    $(<$ty as $crate::table::Argument<$crate::table::$width>>::from_wasm($arg)),*
                ).await,
                Err(error) => Err(error),
            }
        })
    };
    ($linker:ident, calling $haste:tt, $width:ident, $name:ident($($arg:ident: $ty:ty),* $(,)?) = $path:path) => {
        $crate::table::host_function!($linker, waiting $haste, $width, $name($($arg: $ty),*), |call| {
            let result = match call.require_running() {
                Ok(()) => $path(
                    call,
                    $(<$ty as $crate::table::Argument<$crate::table::$width>>::from_wasm($arg)),*
                ).await,
                Err(error) => Err($crate::call::Failure::Mpi(error)),
            };
            $crate::call::ending(result)?
        })
    };
    ($linker:ident, ending $haste:tt, $width:ident, $name:ident($($arg:ident: $ty:ty),* $(,)?) = $path:path) => {
        $crate::table::host_function!($linker, waiting $haste, $width, $name($($arg: $ty),*), |call| {
            $path(
                call,
                $(<$ty as $crate::table::Argument<$crate::table::$width>>::from_wasm($arg)),*
            ).await?
        })
    };
    ($linker:ident, waiting $haste:tt, $width:ident, $name:ident($($arg:ident: $ty:ty),*), |$call:ident| $body:block) => {{
        #[allow(non_snake_case, reason = "the host function has the name of the C function")]
        fn $name<'a, T: $crate::call::MpiView>(
            mut caller: wasmtime::Caller<'a, T>,
            ($($arg,)*): (
                $(<$ty as $crate::table::Argument<$crate::table::$width>>::Wasm,)*
            ),
        ) -> Box<dyn Future<Output = wasmtime::Result<i32>> + Send + 'a> {
            const SWITCH_POINT: bool = $crate::switch::is_switch_point(stringify!($name));
            if SWITCH_POINT && T::leaves(&mut caller) {
                return Box::new(std::future::ready(Ok($crate::abi::MPI_SUCCESS)));
            }
            let large = <$crate::table::$width as $crate::table::Width>::LARGE;
            if SWITCH_POINT && caller.data().door().is_some() {
                return Box::new(async move {
                    let mut call = $crate::call::Call::at_switch_point(caller, stringify!($name), large);
                    let door = call.caller.data().door().cloned();
                    loop {
                        if !call.is_prepared() && !Box::pin(call.prepare()).await? {
                            return Ok($crate::abi::MPI_SUCCESS);
                        }
                        let fate = call.accept_fate();
                        let finished = {
                            let body = std::pin::pin!(async {
                                let $call = &mut call;
                                let result = $body;
                                $call.finish(result).await
                            });
                            let body = $crate::fate::fated(fate.as_deref(), body);
                            $crate::gate::interruptible(door.as_deref(), std::pin::pin!(body)).await
                        };
                        if let Some(finished) = finished {
                            call.caller.data_mut().leave();
                            return finished?;
                        }
                        if call.leaves_now() {
                            return Ok($crate::abi::MPI_SUCCESS);
                        }
                    }
                });
            }
            // A future that has room for all that costs more at each call.
            Box::new(async move {
                if caller.data().is_threaded() {
                    $crate::call::enter(&mut caller).await;
                }
                let mut call = $crate::call::Call::new(caller, stringify!($name), large);
                let fate = call.accept_fate();
                let finished = {
                    let body = std::pin::pin!(async {
                        let $call = &mut call;
                        let result = $body;
                        $call.finish(result).await
                    });
                    $crate::fate::fated(fate.as_deref(), body).await
                };
                call.caller.data_mut().leave();
                finished?
            })
        }
        $linker.func_wrap_async("mpi", stringify!($name), $name::<T>)?;
        $linker.func_wrap_async("mpi", concat!("P", stringify!($name)), $name::<T>)?;
        $crate::table::host_function!($linker, also $haste, $width, $name($($arg: $ty),*), |$call| $body);
    }};
    ($linker:ident, also [], $width:ident, $name:ident $args:tt, |$call:ident| $body:block) => {};
    ($linker:ident, also [at_once], $width:ident, $name:ident($($arg:ident: $ty:ty),*), |$call:ident| $body:block) => {{
        let function = |
            caller: wasmtime::Caller<'_, T>,
            $($arg: <$ty as $crate::table::Argument<$crate::table::$width>>::Wasm),*
        | -> wasmtime::Result<i32> {
            $crate::call::attempt(caller, stringify!($name), async |$call| Ok($body))
        };
        $linker.func_wrap("mpi", concat!("at_once.", stringify!($name)), function)?;
    }};
    ($linker:ident, also [at_once $path:path], $width:ident, $name:ident($($arg:ident: $ty:ty),*), |$call:ident| $body:block) => {{
        let function = |
            caller: wasmtime::Caller<'_, T>,
            $($arg: <$ty as $crate::table::Argument<$crate::table::$width>>::Wasm),*
        | -> wasmtime::Result<i32> {
            $crate::call::make(caller, stringify!($name), |call| {
                $path(call, $(<$ty as $crate::table::Argument<$crate::table::$width>>::from_wasm($arg)),*)
            })
        };
        $linker.func_wrap("mpi", concat!("at_once.", stringify!($name)), function)?;
    }};
    ($linker:ident, real [], $width:ident, $name:ident $args:tt = $path:path) => {
        $crate::table::host_function!($linker, plain f64, $width, $name $args = $path)
    };
    ($linker:ident, aint [], $width:ident, $name:ident $args:tt = $path:path) => {
        $crate::table::host_function!($linker, plain i32, $width, $name $args = $path)
    };
    ($linker:ident, tool [], $width:ident, $name:ident($($arg:ident: $ty:ty),* $(,)?) = $path:path) => {{
        let function = |
            mut caller: wasmtime::Caller<'_, T>,
            $($arg: <$ty as $crate::table::Argument<$crate::table::$width>>::Wasm),*
        | -> i32 {
            let result: std::result::Result<(), i32> = $path(
                caller.data_mut().mpi(),
                $(<$ty as $crate::table::Argument<$crate::table::$width>>::from_wasm($arg)),*
            );
            result.err().unwrap_or($crate::abi::MPI_SUCCESS)
        };
        $linker.func_wrap("mpi", stringify!($name), function)?;
        $linker.func_wrap("mpi", concat!("P", stringify!($name)), function)?;
    }};
    ($linker:ident, plain $value:ident, $width:ident, $name:ident($($arg:ident: $ty:ty),* $(,)?) = $path:path) => {{
        let function = |
            mut caller: wasmtime::Caller<'_, T>,
            $($arg: <$ty as $crate::table::Argument<$crate::table::$width>>::Wasm),*
        | -> $value {
            $path(
                caller.data_mut().mpi(),
                $(<$ty as $crate::table::Argument<$crate::table::$width>>::from_wasm($arg)),*
            )
        };
        $linker.func_wrap("mpi", stringify!($name), function)?;
        $linker.func_wrap("mpi", concat!("P", stringify!($name)), function)?;
    }};
}

pub(crate) use {function_info, host_function, host_functions};
