//! What is drawn of the settings that only TCP has.

use proptest::bool::weighted;
use proptest::strategy::Strategy;

use super::{Draw, from};
use crate::scenario::strategy::tables;

/// A value counts only if its flag is set.
#[derive(Debug, Clone)]
pub struct TcpGenes {
    pub notsent_lowat: (bool, Draw),
    pub congestion: (bool, Draw),
    pub quickack: (bool, Draw),
    /// Where calls do not block.
    pub poll: bool,
}

pub fn tcp() -> impl Strategy<Value = TcpGenes> {
    (
        (weighted(0.06), from(tables::NOTSENT_LOWAT_BYTES)),
        (weighted(0.08), from(tables::CONGESTIONS)),
        (weighted(0.08), from(tables::QUICKACKS)),
        weighted(0.5),
    )
        .prop_map(|(notsent_lowat, congestion, quickack, poll)| TcpGenes {
            notsent_lowat,
            congestion,
            quickack,
            poll,
        })
}
