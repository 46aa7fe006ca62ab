//! Going on without processes that have failed (the ULFM chapter: User-Level Failure Mitigation).
//!
//! [`Known`] is what one process knows of failures and revocations, and which errors follow from it.
//! [`Council`] decides what the processes that are left agree on. There is one council for those who agree,
//! so that a decision is the same for all of them, whoever fails meanwhile.

mod council;
mod known;
#[cfg(test)]
mod tests;

pub use council::{Council, Decided, Decision, Proposal, Refused, TOPICS_MAX, Topic};
pub use known::Known;
