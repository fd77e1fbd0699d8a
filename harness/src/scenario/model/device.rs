//! The interfaces at both ends of the link.

/// The interfaces at both ends of the link; by default as the kernel makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Device {
    /// The largest packet, in bytes from the IP header on; `None`: 1500.
    pub mtu_bytes: Option<u32>,
    /// Generic receive offload, which veth has to be told.
    pub gro: bool,
    /// No TCP segmentation offload.
    pub no_tso: bool,
    /// No generic segmentation offload.
    pub no_gso: bool,
    /// No scatter and gather: a packet is in one piece when it leaves.
    pub no_sg: bool,
    /// No checksum offload: it is computed when a packet leaves.
    pub no_checksum: bool,
}

impl Device {
    /// The largest packet where nothing is said: Ethernet's.
    pub const USUAL_MTU_BYTES: u32 = 1500;

    /// The largest packet.
    pub fn mtu_bytes(&self) -> u32 {
        self.mtu_bytes.unwrap_or(Device::USUAL_MTU_BYTES)
    }

    /// The words of the text for its switches, and which are set.
    pub fn switches(&self) -> [(&'static str, bool); 5] {
        [
            ("gro", self.gro),
            ("no-tso", self.no_tso),
            ("no-gso", self.no_gso),
            ("no-sg", self.no_sg),
            ("no-checksum", self.no_checksum),
        ]
    }
}
