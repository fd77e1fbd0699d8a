//! Compares runs of bytes with the pattern, fast.
//!
//! Nearly every byte that is judged is what it should be, so the common question
//! is "are these thousands of bytes all generation `g`?". The part of the
//! pattern that depends on the offset comes from a table, and the comparison is
//! a loop without branches that the compiler turns into vector instructions.

use std::sync::OnceLock;

use crate::history::{fill, pattern};

/// Files of the usual size are covered by the table; beyond it the pattern is
/// computed block by block.
const TABLE_BYTES: u64 = 1 << 20;

/// One step of the comparison: long enough to vectorize, short enough that the
/// first differing byte is found quickly.
const STRIDE: usize = 128;

const BLOCK: usize = 4096;

/// The pattern of generation 0 from offset 0 on.
fn table() -> &'static [u8] {
    static TABLE: OnceLock<Box<[u8]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut bytes = vec![0; TABLE_BYTES as usize].into_boxed_slice();
        fill(&mut bytes, 0, 0);
        bytes
    })
}

/// The generation whose pattern `byte` is at `offset`; as
/// [`crate::history::generation_of`], from the table where it reaches.
#[inline]
pub(super) fn generation_at(offset: u64, byte: u8) -> u8 {
    let base = match usize::try_from(offset).ok().and_then(|at| table().get(at)) {
        Some(base) => *base,
        None => pattern(offset, 0),
    };
    byte.wrapping_sub(base)
}

/// How many of the first bytes are 0.
pub(super) fn zeros(bytes: &[u8]) -> usize {
    let strides = bytes.chunks(STRIDE);
    let whole = strides.take_while(|some| some.iter().fold(0, |acc, byte| acc | byte) == 0);
    let done = whole.map(<[u8]>::len).sum();
    done + bytes[done..].iter().take_while(|byte| **byte == 0).count()
}

/// How many of the first bytes are `generation`'s pattern from `offset` on.
pub(super) fn matching(bytes: &[u8], offset: u64, generation: u8) -> usize {
    let table = table();
    let mut scratch = [0; BLOCK];
    let mut done = 0;
    while done < bytes.len() {
        let at = offset.saturating_add(done as u64);
        let rest = &bytes[done..];
        let bases = if at < TABLE_BYTES {
            let from = at as usize;
            &table[from..(from + rest.len()).min(table.len())]
        } else {
            let len = rest.len().min(BLOCK);
            fill(&mut scratch[..len], at, 0);
            &scratch[..len]
        };
        let same = common_prefix(&rest[..bases.len()], bases, generation);
        done += same;
        if same < bases.len() {
            break;
        }
    }
    done
}

/// The length of the longest prefix in which `bytes[i] == bases[i] + generation`.
fn common_prefix(bytes: &[u8], bases: &[u8], generation: u8) -> usize {
    let mut done = 0;
    for (some, base) in bytes.chunks(STRIDE).zip(bases.chunks(STRIDE)) {
        let differs = some.iter().zip(base).fold(0, |acc, (byte, base)| {
            acc | (byte ^ base.wrapping_add(generation))
        });
        if differs != 0 {
            return done
                + some
                    .iter()
                    .zip(base)
                    .take_while(|(byte, base)| **byte == base.wrapping_add(generation))
                    .count();
        }
        done += some.len();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(offset: u64, generation: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        fill(&mut bytes, offset, generation);
        bytes
    }

    #[test]
    fn the_first_wrong_byte_is_found_wherever_it_stands() {
        for offset in [0, 1, 4095, TABLE_BYTES - 300, TABLE_BYTES + 7, 1 << 40] {
            let right = filled(offset, 3, 5000);
            assert_eq!(matching(&right, offset, 3), 5000, "offset {offset}");
            for wrong in [0, 1, 127, 128, 299, 300, 301, 4095, 4999] {
                let mut bytes = right.clone();
                bytes[wrong] ^= 0x40;
                assert_eq!(matching(&bytes, offset, 3), wrong, "offset {offset}");
            }
            assert_eq!(matching(&right, offset, 4), 0);
        }
        assert_eq!(matching(&[], 0, 0), 0);
        for len in [0, 1, 127, 128, 129, 5000] {
            let mut bytes = vec![0; 5000];
            bytes[len.min(4999)..].fill(7);
            assert_eq!(zeros(&bytes), len.min(4999));
            assert_eq!(zeros(&vec![0; len]), len);
        }
    }

    #[test]
    fn a_generation_is_told_from_a_byte_inside_and_outside_the_table() {
        for offset in [0, TABLE_BYTES - 1, TABLE_BYTES, u64::MAX] {
            assert_eq!(generation_at(offset, pattern(offset, 77)), 77);
        }
    }
}
