//! What `crate::atomic` has, of loom.
//!
//! Loom takes sequentially consistent accesses for acquire and release ones, but knows fences. So such a store has one
//! behind it here, which is what keeps apart those who announce something and then look for what others have announced.

pub(crate) use loom::sync::atomic::{AtomicU8, Ordering, fence};
pub(crate) use loom::thread::yield_now;

fn fenced<T>(order: Ordering, store: impl FnOnce() -> T) -> T {
    let result = store();
    if order == Ordering::SeqCst {
        fence(Ordering::SeqCst);
    }
    result
}

macro_rules! atomics {
    ($($name:ident: $value:ty;)*) => {$(
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                fenced(order, || self.0.store(value, order));
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                fenced(order, || self.0.swap(value, order))
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                fenced(success, || self.0.compare_exchange_weak(current, new, success, failure))
            }
        }
    )*};
}

atomics! {
    AtomicBool: bool;
    AtomicU64: u64;
    AtomicUsize: usize;
}

impl AtomicU64 {
    pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        fenced(order, || self.0.fetch_max(value, order))
    }
}

/// As `parking_lot`'s.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

#[derive(Debug, Default)]
pub(crate) struct CacheLine {
    pub(crate) words: [AtomicU64; 8],
}

pub(crate) fn zeroed_lines(count: usize) -> Box<[CacheLine]> {
    (0..count).map(|_| CacheLine::default()).collect()
}
