//! A scenario as a C program of its own, that anybody can compile and run as root on a
//! kernel with veth and netem: it makes what the scenario needs, does its steps, says
//! what was torn, and exits 1 where something was.
//!
//! It is written as by hand: there is no table of operations in it and nothing that the
//! scenario does not need. What C cannot say in a few lines, or a kernel that is not ours
//! cannot do, is [`NotInC`].
//!
//! | file | what it holds |
//! | --- | --- |
//! | `limits` | what is not in C, and why |
//! | `shape` | how many threads a program needs, and what they have to know of each other |
//! | `place` | network namespaces, interfaces and queues; the file |
//! | `hold` | packets that are held, and let go |
//! | `connections` | a connection for each sender |
//! | `ends` | the two sockets |
//! | `lend` | sends by reference, and their completions |
//! | `own` | what each of several senders has for itself |
//! | `threads` | the main function, and the other threads |
//! | `steps` | the operations |
//! | `judge` | what is compared in the end |
//! | `parts` | functions that programs have in common, as C |
//! | `assemble` | the functions that are called, the headers that they need, the comment above |

mod assemble;
mod connections;
mod ends;
mod hold;
mod judge;
mod lend;
mod limits;
mod own;
mod parts;
mod place;
mod shape;
mod steps;
#[cfg(test)]
mod tests;
mod threads;

pub use limits::NotInC;

use self::shape::Shape;
use crate::scenario::Scenario;

/// The program, as the text of one file.
///
/// # Errors
/// The first thing of the scenario that is not in C.
pub fn source(scenario: &Scenario) -> Result<String, NotInC> {
    limits::check(scenario)?;
    let shape = Shape::of(scenario);
    let functions = [
        place::link(scenario),
        place::file(scenario),
        ends::connect(scenario),
        threads::actors(scenario, &shape),
        threads::main(scenario, &shape),
    ];
    let functions: Vec<String> = functions.into_iter().filter(|it| !it.is_empty()).collect();
    Ok(assemble::program(scenario, &shape, &functions.join("\n")))
}
