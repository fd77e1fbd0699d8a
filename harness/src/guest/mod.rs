//! What happens inside the kernel under test.
//!
//! * [`init`], `mounts`: the first process: mounts, the program, power off;
//! * [`job`]: what the first process is told to do, and what it tells the host;
//! * `netns`, `rtnl`, `link`: two network namespaces and the queues between;
//! * `tun`: a link on which packets leave the kernel;
//! * `loopback`: a link that does not leave the namespace;
//! * `ethtool`, `sysctl`: what the interfaces do for the stack, and its settings;
//! * `file`, `connection`, `pair`, `receiver`: what is sent, and over what;
//! * `stage`, `reader`, `crew`, `doorman`: the threads and the system calls;
//! * `entropy`: the kernel's random numbers, the same for each run of a scenario;
//! * `kmsg`, `counters`: the kernel's log while a scenario runs, and its counters;
//! * [`leftovers`]: what is left when everything is closed;
//! * `kmemleak`: what a kernel that watches itself says about leaks at the end;
//! * `child`: what another process does;
//! * `borrowed`, `ring`, `error_queue`: sends by reference, and what is told of them;
//! * `bare`: the same calls with nothing around them, to measure against;
//! * [`transfer`]: what a way of sending costs in virtual time;
//! * `run`: the scheduler that turns a scenario into a history.

mod bare;
mod borrowed;
mod child;
mod clock;
mod connection;
pub mod counters;
mod crew;
mod doorman;
mod entropy;
mod error_queue;
mod ethtool;
mod ext4;
mod file;
pub mod init;
pub mod job;
mod kmemleak;
mod kmsg;
pub mod leftovers;
pub mod link;
mod loopback;
mod mailbox;
mod mounts;
pub mod netns;
mod pair;
mod reader;
mod receiver;
mod ring;
mod rtnl;
mod run;
mod settle;
mod stage;
mod sysctl;
pub mod transfer;
mod tun;

pub use bare::Bare;
pub use kmsg::KernelLog;
pub use run::{Guest, RunError};
