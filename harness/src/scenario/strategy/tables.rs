//! Values that are worth more than a uniform draw would give them: the sizes at
//! which the kernel takes another path, and one to each side of them.
//!
//! Each table begins with its simplest value, because shrinking goes to the
//! front.

use std::ops::Range;

use crate::scenario::limits::{MAX_MOVED_BYTES, MAX_SENDFILE_COUNT_BYTES};
use crate::scenario::{Congestion, Family, PAGE_BYTES, Sysctl};

/// A value and its weight.
pub type Weighted<T> = (T, u32);

/// The value that `draw` falls on: the weights are laid end to end from 0, in
/// order, so a smaller draw never gives a later value. A draw past their sum
/// gives the last one.
pub fn pick<T: Copy>(table: &[Weighted<T>], draw: u32) -> T {
    let mut end = 0;
    for &(value, weight) in table {
        end += weight;
        if draw < end {
            return value;
        }
    }
    table[table.len() - 1].0
}

/// The value at the place in `table` that a draw from a table of the sum `of` has there: a
/// smaller draw never gives a later value.
pub fn pick_scaled<T: Copy>(table: &[Weighted<T>], draw: u32, of: u32) -> T {
    pick(table, draw * total(table) / of)
}

/// The sum of a table's weights.
pub const fn total<T: Copy>(table: &[Weighted<T>]) -> u32 {
    let mut sum = 0;
    let mut index = 0;
    while index < table.len() {
        sum += table[index].1;
        index += 1;
    }
    sum
}

/// Socket families other than plain TCP, which most scenarios are about.
pub const FAMILIES: &[Weighted<Family>] = &[
    (Family::Ktls4, 8),
    (Family::Mptcp4, 3),
    (Family::Mptcp6, 1),
    (Family::Unix, 5),
    (Family::UnixSeqpacket, 2),
    (Family::Vsock, 11),
    (Family::Udp4, 10),
    (Family::Udp6, 4),
];

/// Lengths of the file, in bytes.
pub const FILE_BYTES: &[Weighted<u64>] = &[
    (4096, 30),
    (1, 2),
    (100, 3),
    (4095, 3),
    (4097, 5),
    (8192, 12),
    (16384, 14),
    (32768, 10),
    (65536, 10),
    (69632, 7),
    (131_072, 5),
    (262_144, 2),
    (1_048_576, 1),
];

/// A draw of one with several pages.
pub const LARGER_FILE: u32 = 55;

/// A draw of one with more than an skb holds, if not the longest.
pub const LONG_FILE: u32 = 96;

/// Lengths of sends and writes, in bytes.
pub const LENGTHS: &[Weighted<u64>] = &[
    (4096, 24),
    (1, 6),
    (2, 2),
    (100, 3),
    // What one segment carries over Ethernet with timestamps.
    (1447, 2),
    (1448, 5),
    (1449, 3),
    (2896, 3),
    (4095, 3),
    (4097, 4),
    (8192, 8),
    (12_289, 3),
    // The initial window of ten segments.
    (14_480, 4),
    (14_481, 2),
    (16_384, 6),
    // What fits a linear head or an order-3 page fragment.
    (32_768, 6),
    (61_440, 2),
    // 16 pages: what the pipe inside sendfile holds, and the bvec of
    // fs/splice.c:splice_to_socket; 17 need a second round.
    (65_535, 2),
    (65_536, 6),
    (65_537, 2),
    (69_632, 4),
    (131_072, 2),
    // The default send buffer, net.core.wmem_default.
    (212_992, 1),
    (262_144, 1),
];

/// Lengths of long copies, in bytes, gone through in turn: whole pages, and not. Two fill more
/// than the 32 KiB that a thread's copies have in one stretch.
pub const LONG_COPIES: [u64; 7] = [14_481, 32_768, 16_384, 12_289, 61_440, 16_384, 65_537];

/// Counts beyond what one call moves, in bytes: by a byte, and where an int and an unsigned
/// int end.
pub const COUNTS_BEYOND: &[Weighted<u64>] = &[
    (MAX_MOVED_BYTES + 1, 2),
    ((2 << 30) - 1, 1),
    (2 << 30, 2),
    ((4 << 30) - 1, 1),
    (MAX_SENDFILE_COUNT_BYTES, 2),
];

/// Lengths with which the first fragment of a datagram ends at or next to where the next
/// one begins: over IPv6 and over IPv4, with packets of 1500 bytes and of 576.
pub const FRAGMENTS: &[Weighted<u64>] = &[
    (1448, 4),
    (1441, 2),
    (1452, 2),
    (1471, 1),
    (1472, 2),
    (1473, 1),
    (545, 1),
    (548, 1),
];

/// How many sends follow each other in a row: a few, or more than an skb has frags.
pub const ROWS: &[Weighted<u32>] = &[(2, 4), (3, 3), (20, 1)];

/// How many buffers are gathered in a pipe: a few, or about as many as one round of a splice
/// to a socket takes.
pub const BUFFERS: &[Weighted<u32>] = &[(2, 2), (16, 6), (17, 3), (15, 1), (3, 1), (33, 1)];

/// Their lengths, in bytes: all of them in one segment, and in many.
pub const BUFFER_BYTES: &[Weighted<u64>] =
    &[(4096, 3), (1, 3), (64, 3), (100, 2), (1448, 1), (4095, 1)];

/// A draw of the longest row.
pub const LONGEST_ROW: u32 = 7;

/// What all but the first of a row send, at most, in bytes.
pub const ROW_BYTES: u64 = 4097;

/// The same where a probe is to put several together.
pub const PROBED_BYTES: u64 = 700;

/// SO_SNDBUF and SO_RCVBUF, in bytes.
pub const SOCKET_BUFFER_BYTES: &[Weighted<u32>] = &[
    (65_536, 1),
    (2304, 2),
    (4096, 2),
    (4608, 1),
    (8192, 2),
    (16_384, 2),
    (32_768, 1),
    (212_992, 1),
];

/// A draw of one that is full with a few sends.
pub const SMALL_BUFFER: u32 = 4;

/// TCP_NOTSENT_LOWAT, in bytes: up to the initial window and beyond.
pub const NOTSENT_LOWAT_BYTES: &[Weighted<u32>] =
    &[(16_384, 3), (1, 1), (1448, 2), (4096, 3), (65_536, 2)];

/// Congestion controls.
pub const CONGESTIONS: &[Weighted<Congestion>] = &[
    (Congestion::Reno, 2),
    (Congestion::Cubic, 1),
    (Congestion::Bbr, 4),
];

/// TCP_QUICKACK.
pub const QUICKACKS: &[Weighted<bool>] = &[(true, 2), (false, 3)];

/// Capacities of the user pipe, in bytes.
pub const PIPE_BYTES: &[Weighted<u32>] = &[
    (65_536, 8),
    (4096, 3),
    (8192, 2),
    (131_072, 2),
    (1_048_576, 1),
];

/// The same where most is about pipes: few slots, which are soon filled again.
pub const SMALL_PIPE_BYTES: &[Weighted<u32>] = &[(65_536, 2), (4096, 5), (8192, 4), (16_384, 1)];

/// Lengths of what goes into these and out of them: parts of a page, most.
pub const PIPE_LENGTHS: &[Weighted<u64>] = &[
    (4096, 6),
    (1, 8),
    (2, 2),
    (100, 4),
    (2000, 3),
    (4095, 2),
    (4097, 2),
    (8192, 2),
    (8193, 1),
    (65_536, 2),
];

/// Offsets of these: anywhere in a page, so that a part of a page may go on in the next one.
pub const PIPE_OFFSETS: &[Weighted<u64>] = &[
    (0, 4),
    (1, 1),
    (100, 2),
    (2048, 2),
    (4000, 3),
    (4095, 2),
    (4097, 1),
    (8000, 2),
    (12_288, 1),
];

/// Waits, in microseconds: around the delays, the delayed acknowledgement
/// (40 ms), cork's and the least retransmission time-out (200 ms).
pub const WAITS_US: &[Weighted<u64>] = &[
    (1000, 4),
    (10, 2),
    (5000, 3),
    (20_000, 4),
    (45_000, 3),
    (210_000, 2),
    (1_000_000, 1),
];

/// How long what is held is held, in microseconds: longer than anybody waits for a peer, also
/// more than once.
pub const LATE_US: &[Weighted<u64>] = &[(1_500_000, 3), (3_500_000, 1)];

/// Between two actors who meet, in nanoseconds: less than a call takes, and more.
pub const PHASES_NS: &[Weighted<u32>] = &[
    (0, 4),
    (200, 2),
    (1_000, 3),
    (5_000, 3),
    (20_000, 3),
    (100_000, 2),
    (1_000_000, 1),
];

/// TCP_USER_TIMEOUT and SO_SNDTIMEO, in microseconds: shorter and longer than round
/// trips and retransmission time-outs.
pub const TIMEOUTS_US: &[Weighted<u64>] = &[
    (100_000, 3),
    (10_000, 2),
    (1_000, 1),
    (500_000, 2),
    (10_000_000, 1),
];

/// Loss, duplication and reordering, in parts per million.
pub const SHARES_PPM: &[Weighted<u32>] = &[
    (10_000, 4),
    (1000, 2),
    (50_000, 3),
    (100_000, 2),
    (200_000, 1),
];

/// Corruption, in parts per million.
pub const CORRUPT_PPM: &[Weighted<u32>] = &[(10_000, 3), (50_000, 2), (100_000, 1)];

/// A draw of the most that is spoiled, which is one packet or another of each window.
pub const MOST_CORRUPT: u32 = 5;

/// Rates, in bits per second.
pub const RATES_BPS: &[Weighted<u64>] = &[
    (100_000_000, 4),
    (10_000_000, 4),
    (1_000_000, 1),
    (1_000_000_000, 2),
];

/// How many packets a hold lets pass, or a release lets go.
pub const PASSING_PACKETS: &[Weighted<u32>] = &[(1, 4), (2, 3), (3, 2), (10, 1)];

/// Queue lengths, in packets: most are no longer than the initial window of ten.
pub const LIMITS_PACKETS: &[Weighted<u32>] = &[(50, 2), (10, 2), (3, 2), (2, 1)];

/// A draw of one that some segments overflow.
pub const SHORT_QUEUE: u32 = 4;

/// A draw of the directions: what is special about the link is so for the data.
pub const OF_DATA: u32 = 0;

/// Largest packets, in bytes.
pub const MTU_BYTES: &[Weighted<u32>] = &[
    (9000, 3),
    (1280, 3),
    (576, 3),
    (1499, 1),
    // A page and the headers of TCP.
    (4148, 2),
    (65_535, 2),
];

/// Draws of an offset.
pub const OFFSETS: Range<u32> = 0..1024;

/// An offset in a file that is long enough: half of them 0, then the boundaries of pages,
/// then their neighbours, then anything.
pub fn offset(draw: u32) -> u64 {
    let draw = u64::from(draw);
    match draw {
        0..512 => 0,
        512..768 => (draw - 512) * PAGE_BYTES,
        768..832 => (draw - 768) * PAGE_BYTES + 1,
        832..896 => (draw - 831) * PAGE_BYTES - 1,
        // An odd factor, so that neighbours in the draw are far apart.
        _ => draw * 2_654_435_761,
    }
}

/// The draw of a boundary of pages: of one after the other.
pub fn page_offset(page: u32) -> u32 {
    512 + page % 256
}

/// How many values of a sysctl are worth a try.
pub const SYSCTL_VALUES: usize = 2;

/// The draw of a `min-tso-segs` that makes packets of many segments, as soon as the window has
/// room for them.
pub const MANY_SEGMENTS: u32 = 1;

/// Values of a sysctl other than the kernel's own, the one that changes more first.
pub fn sysctl_values(sysctl: Sysctl) -> [u32; SYSCTL_VALUES] {
    match sysctl {
        Sysctl::MtuProbing => [2, 1],
        Sysctl::BaseMss => [512, 1400],
        Sysctl::Sack | Sysctl::Dsack | Sysctl::RetransCollapse => [0, 0],
        Sysctl::Autocorking | Sysctl::WindowScaling => [0, 0],
        Sysctl::SlowStartAfterIdle | Sysctl::ModerateRcvbuf => [0, 0],
        Sysctl::Recovery => [0, 6],
        Sysctl::EarlyRetrans => [0, 4],
        Sysctl::Frto => [0, 1],
        Sysctl::Reordering => [1, 30],
        Sysctl::MinTsoSegs => [1, 20],
        Sysctl::TsoWinDivisor => [0, 1],
        Sysctl::LimitOutput => [1, 16_384],
        Sysctl::Timestamps => [0, 2],
        Sysctl::Ecn => [1, 0],
        Sysctl::Wmem | Sysctl::Rmem => [16_384, 4096],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_sysctls_are_legal() {
        for sysctl in Sysctl::all() {
            let values = sysctl_values(sysctl);
            assert!(values.iter().all(|value| sysctl.bounds().contains(value)));
        }
    }

    #[test]
    fn counts_beyond_are_and_are_legal() {
        let beyond = MAX_MOVED_BYTES + 1..=MAX_SENDFILE_COUNT_BYTES;
        assert!(
            COUNTS_BEYOND
                .iter()
                .all(|(count, _)| beyond.contains(count))
        );
    }

    #[test]
    fn draws_with_a_name_are_what_it_says() {
        assert_eq!(pick(FILE_BYTES, LARGER_FILE), 16_384);
        assert_eq!(pick(FILE_BYTES, LONG_FILE), 131_072);
        assert_eq!(pick(CORRUPT_PPM, MOST_CORRUPT), 100_000);
        assert_eq!(pick(ROWS, LONGEST_ROW), 20);
        let segments = sysctl_values(Sysctl::MinTsoSegs);
        assert_eq!(segments[MANY_SEGMENTS as usize], 20);
        assert_eq!(pick(LIMITS_PACKETS, SHORT_QUEUE), 3);
        assert_eq!(pick(SOCKET_BUFFER_BYTES, SMALL_BUFFER), 4096);
    }

    #[test]
    fn pages_lie_side_by_side() {
        let offsets: Vec<u64> = (0..3).map(|page| offset(page_offset(page))).collect();
        assert_eq!(offsets, [0, 4096, 8192]);
        assert!((0..2000).all(|page| OFFSETS.contains(&page_offset(page))));
    }

    #[test]
    fn a_draw_picks_in_proportion_and_in_order() {
        let table = [('a', 2), ('b', 0), ('c', 1)];
        let picked: String = (0..5).map(|draw| pick(&table, draw)).collect();
        assert_eq!(picked, "aaccc");
        assert_eq!(total(&table), 3);
    }
}
