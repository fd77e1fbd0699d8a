//! What a scenario may ask for, so that every scenario ends, in bounded virtual
//! time and memory. docs/scenario.md lists them with their reasons.

use std::ops::RangeInclusive;

/// Longest text of a scenario, in bytes. The longest canonical text is well
/// below, so what was printed can always be read.
pub const MAX_TEXT_BYTES: usize = 256 << 10;

/// Longest header, in bytes.
pub const MAX_HEADER_BYTES: usize = 16 << 10;

/// Most `expect` lines.
pub const MAX_EXPECTS: usize = 32;

/// Longest name of a kernel in an `expect` line, in bytes.
pub const MAX_KERNEL_NAME_BYTES: usize = 255;

/// Most operations. A write's generation is one byte and 0 is the file as it
/// was made, so there can never be more than 255 writes.
pub const MAX_OPS: usize = 64;
const _: () = assert!(MAX_OPS <= 255, "a generation must fit a byte");

/// Length of the file, in bytes. An empty file has nothing to send or to write.
pub const FILE_BYTES: RangeInclusive<u64> = 1..=1 << 20;

/// Length of the file after `truncate`, in bytes.
pub const MAX_TRUNCATE_BYTES: u64 = *FILE_BYTES.end();

/// Most bytes that all sends together can move.
pub const MAX_SENT_BYTES: u64 = 4 << 20;

/// Longest count of one send or read, in bytes: far past the end of any file.
pub const MAX_COUNT_BYTES: u64 = 4 << 20;

/// The same of a sendfile with an offset, in bytes: past what the kernel moves in one
/// call, too.
pub const MAX_SENDFILE_COUNT_BYTES: u64 = 4 << 30;

/// What the kernel moves in one call at most, in bytes: 2 GiB less a page
/// (include/linux/fs.h: MAX_RW_COUNT).
pub const MAX_MOVED_BYTES: u64 = (2 << 30) - 4096;

/// Highest offset of a send, in bytes: past the end of any file.
pub const MAX_OFFSET_BYTES: u64 = 2 << 20;

/// SO_SNDBUF and SO_RCVBUF, in bytes. The kernel doubles what it is given, and
/// 2304 is the least whose double is a receive buffer (net/sock.h:
/// SOCK_MIN_RCVBUF).
pub const SOCKET_BUFFER_BYTES: RangeInclusive<u32> = 2304..=4 << 20;

/// TCP_NOTSENT_LOWAT, in bytes; 0, no limit, is legal too.
pub const NOTSENT_LOWAT_BYTES: RangeInclusive<u32> = 1..=4 << 20;

/// What an O_DIRECT write is a whole number of, in bytes.
pub const SECTOR_BYTES: u64 = 512;

/// F_SETPIPE_SZ, in bytes: one page to fs/pipe.c:pipe_max_size.
pub const PIPE_BYTES: RangeInclusive<u32> = 4096..=1 << 20;

/// Capacity of a pipe that normalization puts in: what pipe(2) makes.
pub const DEFAULT_PIPE_BYTES: u32 = 64 << 10;

/// The same in pages, each of which is a slot.
pub const DEFAULT_PIPE_PAGES: u32 = DEFAULT_PIPE_BYTES / super::PAGE_BYTES as u32;

/// Longest `wait`, in microseconds.
pub const MAX_WAIT_US: u64 = 10_000_000;

/// Latest begin of who meets another one, in nanoseconds. It is waited for on a CPU.
pub const MAX_PHASE_NS: u32 = 10_000_000;

/// Longest timeout of a socket, in microseconds. The kernel counts them in
/// milliseconds.
pub const MAX_TIMEOUT_US: u64 = 60_000_000;

/// Longest delay of one direction, in microseconds.
pub const MAX_DELAY_US: u64 = 2_000_000;

/// Highest loss of one direction, in parts per million.
pub const MAX_LOSS_PPM: u32 = 200_000;

/// Highest duplication and reordering, in parts per million.
pub const MAX_SHUFFLE_PPM: u32 = 500_000;

/// Rate of one direction, in bits per second; 0, unlimited, is legal too.
pub const RATE_BPS: RangeInclusive<u64> = 1_000_000..=100_000_000_000;

/// Most packets that a hold lets pass or a release lets go.
pub const MAX_PASSING_PACKETS: u32 = 1000;

/// Longest queue, in packets.
pub const MAX_LIMIT_PACKETS: u32 = 100_000;

/// The largest packet of a link, in bytes. What every host of IPv4 must take to what the
/// length of a packet can say.
pub const MTU_BYTES: RangeInclusive<u32> = 576..=65_535;

/// The least of these over IPv6 (IPV6_MIN_MTU).
pub const LEAST_IPV6_MTU_BYTES: u32 = 1280;

/// Highest corruption of one direction, in parts per million: each such packet is lost.
pub const MAX_CORRUPT_PPM: u32 = 100_000;

/// Highest correlation, in parts per million.
pub const MAX_CORRELATION_PPM: u32 = 500_000;

/// A loss ends as often as to leave this share of all packets lost, at most: one in five.
pub const LEAST_RECOVERY: u32 = 4;

/// Certainty, in parts per million.
pub const CERTAIN_PPM: u32 = 1_000_000;

/// Longest gap of reordering, in packets.
pub const MAX_GAP_PACKETS: u32 = 1000;

/// Most that a packet can be longer on the wire, in bytes.
pub const MAX_OVERHEAD_BYTES: u32 = 9000;

/// Highest number of a packet that something happens to.
pub const MAX_NTH: u32 = 1000;
