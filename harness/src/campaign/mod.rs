//! Many scenarios on many kernels: jobs for guests, and what comes back.
//!
//! * [`job`]: what a guest is asked and what it tells;
//! * [`worker`]: the guest's side: runs scenarios, judges, shrinks;
//! * [`known`]: bugs of released kernels that a campaign goes on past;
//! * [`check`]: generated cases on several kernels at once;
//! * [`coverage`]: which code of a kernel given scenarios reach;
//! * [`fuzz`]: the fuzzer for hours;
//! * [`explain`]: one scenario, with all that was seen of it;
//! * [`score`]: how many bugs that were put in are found;
//! * [`replay`]: given scenarios on several kernels at once;
//! * [`minimize`]: given findings made smaller, several at once;
//! * [`crash`]: scenarios that take the kernel down with them;
//! * [`two_machines`]: the two programs of 2008, on a machine each;
//! * [`mod@unit`]: a part of a campaign that many machines work at;
//! * [`merge`]: what many units came to, put together;
//! * [`host`]: the host's side: boots guests and gathers what they tell.

pub mod check;
pub mod coverage;
pub mod crash;
pub mod explain;
pub mod fuzz;
pub mod host;
pub mod job;
pub mod known;
pub mod merge;
pub mod minimize;
pub mod replay;
pub mod score;
pub mod two_machines;
pub mod unit;
pub mod worker;
