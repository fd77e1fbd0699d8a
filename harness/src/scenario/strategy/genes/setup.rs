//! What is drawn of the setup.

use proptest::bool::weighted;
use proptest::strategy::Strategy;

use super::{Draw, from};
use crate::scenario::strategy::tables;

/// What else there is about the file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Writes that take something away: truncate and punch.
    pub cuts: bool,
    /// A second mapping, and what has the page cache tidied up.
    pub pages: bool,
    pub sparse: bool,
    pub read_only: bool,
    /// On ext4, with what only that has.
    pub ext4: bool,
}

/// The link. A value counts only if its flag is set.
#[derive(Debug, Clone)]
pub struct LinkGenes {
    pub data_delay_ms: (bool, u64),
    pub ack_delay_ms: (bool, u64),
    /// In percent of the delay.
    pub jitter: (bool, u64),
    pub loss: (bool, Draw),
    pub duplicate: (bool, Draw),
    pub reorder: (bool, Draw),
    pub rate: (bool, Draw),
    pub limit: (bool, Draw),
    /// Which directions the six above apply to: data, acknowledgements, both.
    pub direction: Draw,
    pub seed: u64,
    pub chance: ChanceGenes,
}

/// What makes of chances, rates and times of a link something else: in the same
/// directions. A value counts only if its flag is set.
#[derive(Debug, Clone)]
pub struct ChanceGenes {
    pub corrupt: (bool, Draw),
    pub correlation: bool,
    pub gap: bool,
    pub recover: bool,
    pub slot_ms: (bool, u64),
    pub overhead: bool,
    pub distribution: (bool, Draw),
    pub mark: bool,
}

/// The socket and the reader.
#[derive(Debug, Clone)]
pub struct SocketGenes {
    pub tcp6: bool,
    pub sndbuf: (bool, Draw),
    pub rcvbuf: (bool, Draw),
    pub nodelay: bool,
    pub cork: bool,
    pub nonblock: bool,
    pub paused: bool,
    pub user_timeout: (bool, Draw),
    pub send_timeout: (bool, Draw),
}

pub fn link() -> impl Strategy<Value = LinkGenes> {
    (
        // Without a delay of the data nothing is in flight when a send returns.
        (weighted(0.85), 1..=50_u64),
        (weighted(0.5), 1..=50_u64),
        (weighted(0.12), 1..=100_u64),
        (weighted(0.12), from(tables::SHARES_PPM)),
        (weighted(0.08), from(tables::SHARES_PPM)),
        (weighted(0.08), from(tables::SHARES_PPM)),
        (weighted(0.15), from(tables::RATES_BPS)),
        (weighted(0.05), from(tables::LIMITS_PACKETS)),
        0..6_u32,
        (1..1_000_u64, chance()),
    )
        .prop_map(
            |(
                data,
                ack,
                jitter,
                loss,
                duplicate,
                reorder,
                rate,
                limit,
                direction,
                (seed, chance),
            )| {
                LinkGenes {
                    data_delay_ms: data,
                    ack_delay_ms: ack,
                    jitter,
                    loss,
                    duplicate,
                    reorder,
                    rate,
                    limit,
                    direction,
                    seed,
                    chance,
                }
            },
        )
}

fn chance() -> impl Strategy<Value = ChanceGenes> {
    (
        (weighted(0.05), from(tables::CORRUPT_PPM)),
        weighted(0.15),
        weighted(0.4),
        weighted(0.3),
        (weighted(0.05), 1..=20_u64),
        weighted(0.3),
        (weighted(0.4), 1..3_u32),
        weighted(0.3),
    )
        .prop_map(
            |(corrupt, correlation, gap, recover, slot_ms, overhead, distribution, mark)| {
                ChanceGenes {
                    corrupt,
                    correlation,
                    gap,
                    recover,
                    slot_ms,
                    overhead,
                    distribution,
                    mark,
                }
            },
        )
}

pub fn socket() -> impl Strategy<Value = SocketGenes> {
    let buffer = || (weighted(0.15), from(tables::SOCKET_BUFFER_BYTES));
    (
        weighted(0.25),
        buffer(),
        buffer(),
        weighted(0.2),
        weighted(0.08),
        weighted(0.12),
        weighted(0.15),
        (weighted(0.05), from(tables::TIMEOUTS_US)),
        (weighted(0.05), from(tables::TIMEOUTS_US)),
    )
        .prop_map(
            |(
                tcp6,
                sndbuf,
                rcvbuf,
                nodelay,
                cork,
                nonblock,
                paused,
                user_timeout,
                send_timeout,
            )| SocketGenes {
                tcp6,
                sndbuf,
                rcvbuf,
                nodelay,
                cork,
                nonblock,
                paused,
                user_timeout,
                send_timeout,
            },
        )
}

pub fn source() -> impl Strategy<Value = Source> {
    (
        weighted(0.2),
        weighted(0.15),
        weighted(0.06),
        weighted(0.12),
        weighted(0.08),
    )
        .prop_map(|(cuts, pages, sparse, read_only, ext4)| Source {
            cuts,
            pages,
            sparse,
            read_only,
            ext4,
        })
}
