//! What protocols without locks are made of.
//!
//! `tests/loom` compiles the files of these protocols with loom's counterparts under the same names, and explores every
//! order in which their threads can run and every value that a load may give.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::thread::yield_now;

pub(crate) use faasm_vm::line::{CacheLine, zeroed_lines};
pub(crate) use parking_lot::Mutex;
