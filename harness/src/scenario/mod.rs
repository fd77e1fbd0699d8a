//! A scenario: one test case, a setup and a list of operations.
//!
//! * [`model`](Scenario): the types;
//! * [`Family`]: the kinds of sockets;
//! * [`text`]: its form of record, with errors that give line and column;
//! * [`limits`]: what a scenario may ask for;
//! * [`features`]: what a scenario exercises, counted;
//! * [`mod@normalize`]: makes any scenario one that can run;
//! * [`strategy`]: the generator, as a proptest strategy.

mod family;
pub mod features;
pub mod limits;
mod model;
pub mod normalize;
pub mod strategy;
pub mod text;

pub use family::Family;
pub use model::*;
