//! What the checksum of a datagram does not find.
//!
//! A link that corrupts flips a bit of a packet. The Internet checksum (RFC 1071), a
//! sum of words of 16 bits modulo 65,535, finds one flipped bit in what it sums; but
//! not two that undo each other, in two fragments of a datagram, nor one that undoes
//! what a write after the send has done to the pages. The receiver then gets a datagram
//! that nobody sent, and no kernel is to blame.

/// Sums of 16 bits are equal if they are so modulo this.
const MODULUS: i64 = 0xffff;

/// The difference between what was summed and what arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Difference {
    sum: i64,
    /// Bytes that arrived with one bit flipped.
    flipped: u64,
    /// Whether a byte could have been summed with several values.
    open: bool,
    /// Whether a byte is wrong by more than a bit.
    wrong: bool,
}

impl Difference {
    /// Adds byte `at` of the data (or of the datagram: its header is of even length)
    /// that arrived as `byte` and had one of `values` when it was summed.
    pub fn add(&mut self, at: usize, byte: u8, values: impl Iterator<Item = u8> + Clone) {
        let right = values.clone().any(|value| value == byte);
        let mut before = values
            .clone()
            .filter(|value| right || (value ^ byte).count_ones() == 1);
        self.open |= values
            .clone()
            .any(|value| values.clone().any(|it| it != value));
        self.flipped += u64::from(!right);
        let Some(value) = before.next() else {
            self.wrong = true;
            return;
        };
        if !right {
            let weight = if at.is_multiple_of(2) { 256 } else { 1 };
            self.sum += weight * (i64::from(byte) - i64::from(value));
        }
    }

    /// Whether a byte could have been summed with several values.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether more than `flips` flipped bits are there already, or a byte has more than one.
    pub fn is_beyond(&self, flips: u64) -> bool {
        self.wrong || self.flipped > flips
    }

    /// Whether at most `flips` flipped bits explain it, and the sum is the same.
    pub fn goes_unnoticed(self, flips: u64) -> bool {
        let explained = !self.wrong && (1..=flips).contains(&self.flipped);
        explained && (self.open || self.sum % MODULUS == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of RFC 1071, written in another way.
    fn sum(data: &[u8]) -> u32 {
        let words = data
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
        words.fold(0, |sum, word| {
            let sum = sum + word;
            (sum & 0xffff) + (sum >> 16)
        })
    }

    fn between(sent: &[u8], arrived: &[u8]) -> Difference {
        let mut difference = Difference::default();
        for (at, (sent, arrived)) in sent.iter().zip(arrived).enumerate() {
            difference.add(at, *arrived, std::iter::once(*sent));
        }
        difference
    }

    #[test]
    fn two_flips_go_unnoticed_where_the_sum_is_the_same() {
        let sent: Vec<u8> = (0..64).map(|at: u8| at.wrapping_mul(37)).collect();
        let mut unnoticed = 0;
        for one in 0..64 * 8 {
            for other in one + 1..64 * 8 {
                let mut arrived = sent.clone();
                arrived[one / 8] ^= 1 << (one % 8);
                arrived[other / 8] ^= 1 << (other % 8);
                // Two bits of one byte are no two packets' doing.
                let alone = one / 8 != other / 8;
                let same = alone && sum(&sent) % 0xffff == sum(&arrived) % 0xffff;
                let difference = between(&sent, &arrived);
                assert_eq!(difference.goes_unnoticed(2), same, "{one} {other}");
                assert!(!difference.goes_unnoticed(1), "{one} {other}");
                unnoticed += u32::from(same);
            }
        }
        assert!(unnoticed > 1000, "{unnoticed}");
    }

    #[test]
    fn one_flip_is_noticed_but_beside_a_write() {
        let sent = [1, 2, 3, 4];
        assert!(!between(&sent, &sent).goes_unnoticed(2));
        assert!(!between(&sent, &[1, 3, 3, 4]).goes_unnoticed(2));
        assert!(!between(&sent, &[1, 2, 3, 44]).goes_unnoticed(2));
        let mut difference = between(&sent, &[1, 3, 3, 4]);
        difference.add(4, 9, [8, 9].into_iter());
        assert!(difference.goes_unnoticed(1));
    }
}
