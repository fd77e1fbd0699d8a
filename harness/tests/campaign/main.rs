//! A campaign on many machines: parts of it, put together, and two nodes of a real Slurm that
//! lose a node and their controller in the middle.

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod slurm;
mod support;
mod units;
mod wrong_arguments;
