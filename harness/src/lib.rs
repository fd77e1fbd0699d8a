//! **inflight** finds bytes that change while they are in flight.
//!
//! `sendfile(2)` and `splice(2)` put *references* to page-cache pages on a
//! socket. Whoever writes to the file after the call has returned can still
//! change what goes out. This library generates interleavings of sends and
//! writes, runs them on real kernels, and judges every byte that arrives.
//!
//! Data flows one way, and the modules stand in that order; no module uses one
//! that comes after it:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`scenario`] | one test case: a setup and a list of operations; text is its form of record |
//! | [`history`] | what was seen: every call with its entry and return, every byte received |
//! | `hex` | bytes as text |
//! | [`capture`] | the packets of a run, as they were seen on their way |
//! | [`oracle`] | judges a history: one file a property |
//! | [`mod@reference`] | the manual pages in executable form: a second opinion on a history |
//! | [`minimize`] | makes a failing scenario smaller |
//! | [`process`] | child processes that never outlive us |
//! | [`kcov`] | which code of the kernel runs, where it counts that |
//! | [`kernel`] | where a kernel comes from: source, patches, configuration, build cache |
//! | [`coverage`] | which code of a kernel was reached, by its image |
//! | [`guest`] | what happens inside: the first process, namespaces, link, actors |
//! | [`engine`] | runs a program inside a kernel |
//! | [`trial`] | one scenario, run and judged, inside the kernel under test |
//! | [`campaign`] | many scenarios on many kernels: jobs, workers, what comes back |
//! | [`fuzz`] | what a fuzz target needs to run inside the kernel under test |
//! | [`bisect`] | which change turns the verdict: patches of a series, commits of a tree |
//! | [`selftest`] | the kernel's own tests on several kernels, compared |
//! | [`report`] | findings as files, tables |
//! | [`cluster`] | a campaign on machines that a scheduler gives out |
//! | [`seed`] | the two programs of 2008, `send` and `recv`, with no suite around them |
//! | [`cli`] | the command line, one file a subcommand |
//!
//! There is no agent and no wire protocol: any binary that links this library
//! can call [`engine::enter`] and go on inside the kernel under test.

pub mod bisect;
pub mod campaign;
pub mod capture;
pub mod cli;
pub mod cluster;
pub mod coverage;
pub mod engine;
pub mod fuzz;
pub mod guest;
mod hex;
pub mod history;
pub mod kcov;
pub mod kernel;
pub mod minimize;
pub mod oracle;
pub mod process;
pub mod reference;
pub mod report;
pub mod scenario;
pub mod seed;
pub mod selftest;
pub mod trial;
