//! The tests that come with a kernel's source (`tools/testing/selftests`), run
//! inside kernels and compared between them.
//!
//! * [`suite`]: which tests, of which files, and how each is started;
//! * [`tap`]: what a test prints, read;
//! * [`run`]: the tests inside kernels;
//! * [`judge`]: whether a cure changed anything but what it is to change.
//!
//! What a test needs is built from the same source for every flavour of a version
//! ([`crate::kernel::selftests`]), so a difference is one of the kernels.

pub mod judge;
pub mod run;
pub mod suite;
pub mod tap;
