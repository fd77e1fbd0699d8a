//! Which code of a kernel was reached: addresses of blocks, and what they are in the source.
//!
//! * [`sites`]: where the kernel's text notes a block;
//! * [`image`]: the blocks of an image, and the lines that they are;
//! * [`pcs`]: blocks that ran, as a file that can be merged with others;
//! * [`tally`]: what was reached, by file, function and line;
//! * [`path`]: which of the functions are those of sending.

pub mod image;
pub mod path;
pub mod pcs;
pub mod sites;
pub mod tally;

pub use image::{Block, Blocks, Frame, Image, ImageError};
pub use pcs::{Pcs, PcsError};
pub use tally::{Coverage, Tally};
