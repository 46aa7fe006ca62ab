//! What `faasm-run` does, from the outside: the guests of the manifest, and the command line.

mod checkpoint;
mod checkpoint_faults;
mod checkpoint_nodes;
mod checkpoint_threads;
mod cli;
mod cluster;
mod cluster_collectives;
mod cluster_guests;
mod cluster_jobs;
mod cluster_network;
mod cluster_nodes;
mod guests;
mod lab;
mod launchers;
mod migrate;
mod omp;
mod omp_nodes;
mod proto;
mod restart;
mod stacks;
mod suite;
mod support;
mod threads;
mod top;
mod ulfm;
mod wasi;
