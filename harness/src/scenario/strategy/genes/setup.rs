//! What is drawn of the setup.

use proptest::bool::weighted;
use proptest::prop_compose;
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
    pub timestamping: bool,
    pub paused: bool,
    pub user_timeout: (bool, Draw),
    pub send_timeout: (bool, Draw),
}

prop_compose! {
    pub fn link()(
        // Without a delay of the data nothing is in flight when a send returns.
        data_delay_ms in (weighted(0.85), 1..=50_u64),
        ack_delay_ms in (weighted(0.5), 1..=50_u64),
        jitter in (weighted(0.12), 1..=100_u64),
        loss in (weighted(0.12), from(tables::SHARES_PPM)),
        duplicate in (weighted(0.08), from(tables::SHARES_PPM)),
        reorder in (weighted(0.08), from(tables::SHARES_PPM)),
        rate in (weighted(0.15), from(tables::RATES_BPS)),
        limit in (weighted(0.05), from(tables::LIMITS_PACKETS)),
        direction in 0..6_u32,
        seed in 1..1_000_u64,
        chance in chance(),
    ) -> LinkGenes {
        LinkGenes {
            data_delay_ms,
            ack_delay_ms,
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
    }
}

prop_compose! {
    fn chance()(
        corrupt in (weighted(0.05), from(tables::CORRUPT_PPM)),
        correlation in weighted(0.15),
        gap in weighted(0.4),
        recover in weighted(0.3),
        slot_ms in (weighted(0.05), 1..=20_u64),
        overhead in weighted(0.3),
        distribution in (weighted(0.4), 1..3_u32),
        mark in weighted(0.3),
    ) -> ChanceGenes {
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
    }
}

fn buffer() -> impl Strategy<Value = (bool, Draw)> {
    (weighted(0.15), from(tables::SOCKET_BUFFER_BYTES))
}

prop_compose! {
    pub fn socket()(
        tcp6 in weighted(0.25),
        sndbuf in buffer(),
        rcvbuf in buffer(),
        nodelay in weighted(0.2),
        cork in weighted(0.08),
        nonblock in weighted(0.12),
        timestamping in weighted(0.08),
        paused in weighted(0.15),
        user_timeout in (weighted(0.05), from(tables::TIMEOUTS_US)),
        send_timeout in (weighted(0.05), from(tables::TIMEOUTS_US)),
    ) -> SocketGenes {
        SocketGenes {
            tcp6,
            sndbuf,
            rcvbuf,
            nodelay,
            cork,
            nonblock,
            timestamping,
            paused,
            user_timeout,
            send_timeout,
        }
    }
}

prop_compose! {
    pub fn source()(
        cuts in weighted(0.2),
        pages in weighted(0.15),
        sparse in weighted(0.1),
        read_only in weighted(0.12),
        ext4 in weighted(0.08),
    ) -> Source {
        Source {
            cuts,
            pages,
            sparse,
            read_only,
            ext4,
        }
    }
}
