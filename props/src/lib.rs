//! What must hold, as properties with names, run inside the kernels under test.
//!
//! `cargo test -p inflight-props` boots a kernel for every pair of property and
//! kernel, with the test program itself as the guest's program. What needs no kernel,
//! that texts and rules do not lose anything, is in `tests/on_the_host.rs`.
//!
//! * [`properties`]: the properties, as proptest sees them;
//! * [`again`]: a scenario does the same each time;
//! * [`behaviour`]: that the link, the calls and the scheduler do what they say;
//! * [`borrowed`]: what is sent by reference is, and is completed when it says;
//! * [`chances`]: what makes of chances, rates and times of the link something else;
//! * [`cost`]: what the cure may cost;
//! * [`coverage`]: a kernel that counts its code counts what it should;
//! * [`doctored`]: each of the properties can be broken;
//! * [`late`]: how much later than its last byte arrives a call may return;
//! * [`disk`]: files on ext4 are, and what only they have does what it says;
//! * [`families`]: the sockets are of the families that scenarios name;
//! * [`guest`]: the guest does what a scenario says;
//! * [`scarcity`]: out of memory at each allocation of a send;
//! * [`counts`]: how much one call moves;
//! * [`counters`]: what the series counts and traces is what happened;
//! * [`company`]: actors go together as the scenario says;
//! * [`sockets`]: their settings are set;
//! * [`source`]: the ways to change the file do what they say;
//! * [`stack`]: the interfaces and the stack are as scenarios say;
//! * [`loopback`]: loopback carries what is to go over it;
//! * [`packets`]: the packets of a scenario are seen, and nothing changes by that;
//! * [`tun`]: a TUN link knows its packets by their numbers;
//! * [`watch`]: a kernel that watches itself is heard;
//! * [`leaks`]: what is left behind is seen;
//! * [`programs`]: the two programs of 2008, between two namespaces;
//! * [`waiting`]: what a program can do to a call of its own that waits;
//! * [`relay`]: from socket to pipe to socket;
//! * [`proxy`]: a relay passes on all that is received;
//! * [`runner`]: the host's side: which kernels, one guest a test.
//!
//! Environment: `PROPTEST_CASES` (default 256), `INFLIGHT_KERNELS` (names
//! separated by commas; default `6.12-stock,6.12-patched`). Tests that need a
//! kernel which watches itself run on `6.12-patched-debug` if that is built, those that
//! need one which counts its code on `6.12-patched-kcov`.

pub mod again;
pub mod behaviour;
pub mod borrowed;
pub mod chances;
pub mod company;
pub mod cost;
pub mod counters;
pub mod counts;
pub mod coverage;
pub mod disk;
pub mod doctored;
pub mod families;
pub mod guest;
pub mod holds;
pub mod late;
pub mod leaks;
pub mod loopback;
pub mod packets;
pub mod programs;
pub mod properties;
pub mod proxy;
pub mod relay;
pub mod runner;
pub mod scarcity;
pub mod sockets;
pub mod source;
pub mod stack;
pub mod tun;
pub mod waiting;
pub mod watch;
