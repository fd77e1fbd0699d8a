//! The two programs of 2008, as they are installed. Each is tested against a peer that
//! says and sends what is fixed here: whether a real kernel shows the race between them is
//! luck. What is no luck is shown in kernels under test, in virtual time.

// Half of it is for tests that read the corpus.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
mod in_kernels;
mod programs;
mod recv_datagrams;
mod recv_stream;
mod send_datagrams;
mod send_file;
mod send_stream;
