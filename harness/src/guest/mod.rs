//! What happens inside the kernel under test.

pub mod init;
mod mounts;
