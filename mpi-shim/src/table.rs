//! The list of host functions, declared once per chapter by `host_functions!`.
//!
//! From one declaration come the registration under `MPI_x` and `PMPI_x`, the name in reports, and
//! the list that tests compare with `mpi.h`.

use faasm_vm::GuestAddr;

/// A C argument as wasm passes it.
pub trait Argument: Sized {
    /// The wasm type.
    type Wasm: wasmtime::WasmTy + Send;

    /// The argument from its wasm value.
    fn from_wasm(value: Self::Wasm) -> Self;
}

impl Argument for i32 {
    type Wasm = Self;

    #[inline]
    fn from_wasm(value: Self) -> Self {
        value
    }
}

impl Argument for i64 {
    type Wasm = Self;

    #[inline]
    fn from_wasm(value: Self) -> Self {
        value
    }
}

impl Argument for GuestAddr {
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
    /// Names and Rust types of its parameters.
    pub parameters: &'static [(&'static str, &'static str)],
}

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
/// returns `wasmtime::Result<Result<()>>`, so that it can also end the program; `real` and
/// `aint` name a plain function that cannot fail and returns an `f64` or an `i32`; `tool` names a
/// plain function whose error code goes to the caller without an error handler.
macro_rules! host_functions {
    ($(
        $(#[doc = $doc:literal])*
        $kind:ident fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $path:path;
    )*) => {
        /// The functions of this chapter.
        pub(in crate::host) const FUNCTIONS: &[$crate::table::FunctionInfo] = &[$(
            $crate::table::FunctionInfo {
                name: stringify!($name),
                parameters: &[$((stringify!($arg), stringify!($ty))),*],
            }
        ),*];

        /// Registers the functions of this chapter.
        pub(crate) fn add_to_linker<T: $crate::call::MpiView>(
            linker: &mut $crate::table::Imports<'_, T>,
        ) -> wasmtime::Result<()> {
            $($crate::table::host_function!(
                linker, $kind, $name($($arg: $ty),*) = $path
            );)*
            Ok(())
        }
    };
}

/// Registers one host function; see [`host_functions!`].
macro_rules! host_function {
    ($linker:ident, call, $name:ident($($arg:ident: $ty:ty),*) = $path:path) => {
        $crate::table::host_function!($linker, waiting, $name($($arg: $ty),*), |call| {
            match call.require_running() {
                Ok(()) => $path(call, $(<$ty>::from_wasm($arg)),*).await,
                Err(error) => Err(error),
            }
        })
    };
    ($linker:ident, ending, $name:ident($($arg:ident: $ty:ty),*) = $path:path) => {
        $crate::table::host_function!($linker, waiting, $name($($arg: $ty),*), |call| {
            $path(call, $(<$ty>::from_wasm($arg)),*).await?
        })
    };
    ($linker:ident, waiting, $name:ident($($arg:ident: $ty:ty),*), |$call:ident| $body:block) => {{
        #[allow(unused_imports, reason = "functions without arguments convert nothing")]
        use $crate::table::Argument as _;
        #[allow(non_snake_case, reason = "the host function has the name of the C function")]
        fn $name<'a, T: $crate::call::MpiView>(
            caller: wasmtime::Caller<'a, T>,
            ($($arg,)*): ($(<$ty as $crate::table::Argument>::Wasm,)*),
        ) -> Box<dyn Future<Output = wasmtime::Result<i32>> + Send + 'a> {
            Box::new(async move {
                let mut call = $crate::call::Call::new(caller, stringify!($name));
                let $call = &mut call;
                let result = $body;
                call.finish(result).await
            })
        }
        $linker.func_wrap_async("mpi", stringify!($name), $name::<T>)?;
        $linker.func_wrap_async("mpi", concat!("P", stringify!($name)), $name::<T>)?;
    }};
    ($linker:ident, real, $name:ident($($arg:ident: $ty:ty),*) = $path:path) => {
        $crate::table::host_function!($linker, plain f64, $name($($arg: $ty),*) = $path)
    };
    ($linker:ident, aint, $name:ident($($arg:ident: $ty:ty),*) = $path:path) => {
        $crate::table::host_function!($linker, plain i32, $name($($arg: $ty),*) = $path)
    };
    ($linker:ident, tool, $name:ident($($arg:ident: $ty:ty),*) = $path:path) => {{
        #[allow(unused_imports, reason = "functions without arguments convert nothing")]
        use $crate::table::Argument as _;
        let function = |mut caller: wasmtime::Caller<'_, T>,
                        $($arg: <$ty as $crate::table::Argument>::Wasm),*| -> i32 {
            let result: std::result::Result<(), i32> =
                $path(caller.data_mut().mpi(), $(<$ty>::from_wasm($arg)),*);
            result.err().unwrap_or($crate::abi::MPI_SUCCESS)
        };
        $linker.func_wrap("mpi", stringify!($name), function)?;
        $linker.func_wrap("mpi", concat!("P", stringify!($name)), function)?;
    }};
    ($linker:ident, plain $value:ident, $name:ident($($arg:ident: $ty:ty),*) = $path:path) => {{
        #[allow(unused_imports, reason = "functions without arguments convert nothing")]
        use $crate::table::Argument as _;
        let function = |mut caller: wasmtime::Caller<'_, T>,
                        $($arg: <$ty as $crate::table::Argument>::Wasm),*| -> $value {
            $path(caller.data_mut().mpi(), $(<$ty>::from_wasm($arg)),*)
        };
        $linker.func_wrap("mpi", stringify!($name), function)?;
        $linker.func_wrap("mpi", concat!("P", stringify!($name)), function)?;
    }};
}

pub(crate) use {host_function, host_functions};
