//! What happens inside the kernel under test.
//!
//! * `init`: the first process: mounts, the program, power off;
//! * `netns`, `rtnl`, `link`: two network namespaces and the queues between;
//! * `file`, `connection`: what is sent, and over what;
//! * `stage`, `reader`, `crew`: the threads and the system calls;
//! * `run`: the scheduler that turns a scenario into a history.

mod clock;
mod connection;
mod crew;
mod file;
mod link;
mod netns;
mod reader;
mod rtnl;
mod run;
mod stage;

pub use run::{Guest, RunError};
