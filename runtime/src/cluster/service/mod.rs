//! A cluster that outlives its jobs: a coordinator that runs on its own, and the processes of its
//! user that give it jobs and orders.
//!
//! They meet at a socket in a directory that only this user can enter (`place`), or, from another machine with
//! a user's token, at the coordinator's control port; `message` and `orders` are what they say, `wire` how, `server` and `running` the
//! coordinator's side, `client` and `remote` the user's.

mod client;
mod message;
mod orders;
mod place;
mod remote;
mod running;
mod server;
mod wire;

pub use client::ClusterClient;
pub use place::ClusterPlace;
pub use server::ClusterServer;
