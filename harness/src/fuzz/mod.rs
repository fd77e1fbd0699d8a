//! What a fuzz target needs to run inside the kernel under test.
//!
//! libFuzzer mutates, keeps what reaches something new, and starts children of its own; it
//! knows nothing of kernels. A target calls [`enter`] first of all: on the host this boots
//! the kernel with the target itself as the program, and in the guest libFuzzer goes on as
//! if nothing were special. Corpus and artifacts are the host's; they are found by the
//! arguments.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `arguments` | what libFuzzer's arguments say of files and children |
//! | `clock` | the host's time for libFuzzer, in whose guest time stands still |
//! | `enter` | the host's side: boots, and keeps the input of a kernel that dies |
//! | `input` | scenarios as bytes |
//! | `mutate` | other scenarios near a scenario, and between two |
//! | [`record`] | what a campaign keeps of each violation |
//! | [`spool`] | where a campaign's guests leave what they find, and go on |
//! | `state` | features of what happened, besides the code that ran |
//! | `target` | the guest's side: one input run and judged |
//! | `trace` | when a block of the kernel ran for the first time |

mod arguments;
mod clock;
#[cfg(test)]
mod dictionary;
mod enter;
mod input;
mod mutate;
pub mod record;
pub mod spool;
mod state;
mod target;
mod trace;

pub use clock::now_ns;
pub(crate) use enter::end_of_guest;
pub use enter::{
    CONTRACT_VARIABLE, KERNEL_VARIABLE, KEY_VARIABLE, LEAKED_STATUS, SPENT_STATUS, enter, usual,
    usual_contract,
};
pub use input::Input;
pub use mutate::{cross, mutate};
pub use state::FEATURES;
pub use target::{Complaint, Target};
