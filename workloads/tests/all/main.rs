//! The compiler driver on real programs: what it accepts, what comes out, and how it fails.
//!
//! These tests install the guest toolchain into the user's cache when it is not there yet.

mod commands;
mod failures;
mod guests;
mod modules;
mod workplace;
